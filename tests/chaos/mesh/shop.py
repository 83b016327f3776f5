"""How a customer calls: by the client package or by REST, each call noted in the history."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from trackops.order.v1.order_pb2 import OrderState

from trackops_client import error_of

from .history import Call, History, Outcome, outcome_of, outcome_of_http
from .rest import RestError, RestOrders

__all__ = ["Shop", "principal_of"]

_LONGEST_WAIT_SECONDS = 2.0
_NO_PIECES: Mapping[str, int] = {}


class Shop:
    """Calls to the order service, and what came of them."""

    def __init__(self, orders: Any, history: History, principal: str, rng: random.Random) -> None:
        """`orders` is a stub of the order service, or RestOrders."""
        self.orders = orders
        self._fine = "HTTP 200" if isinstance(orders, RestOrders) else "OK"
        self.history = history
        self._principal = principal
        self._rng = rng

    async def insist(
        self,
        kind: str,
        method: Callable[..., Awaitable[Any]],
        request: Any,
        *,
        first_timeout_seconds: float = 5.0,
        attempts: int = 30,
        pieces: Mapping[str, int] = _NO_PIECES,
    ) -> Any:
        """The answer, or None: refused, or never heard in so many attempts of the same request."""
        timeout = first_timeout_seconds
        for attempt in range(attempts):
            answer, outcome = await self.call(kind, method, request, timeout, pieces)
            if outcome is not Outcome.UNKNOWN:
                return answer
            longest = min(_LONGEST_WAIT_SECONDS, 0.05 * 2**attempt)
            await asyncio.sleep(self._rng.uniform(0, longest))
            timeout = 5.0
        return None

    async def call(
        self,
        kind: str,
        method: Callable[..., Awaitable[Any]],
        request: Any,
        timeout_seconds: float,
        pieces: Mapping[str, int] = _NO_PIECES,
    ) -> tuple[Any, Outcome]:
        """One attempt, which the channel may repeat by itself; the answer is None without one."""
        began = time.time()
        answer, outcome, code, reason = None, Outcome.ACKNOWLEDGED, self._fine, ""
        try:
            answer = await method(request, timeout=timeout_seconds)
        except grpc.aio.AioRpcError as error:
            outcome, code = outcome_of(error.code()), error.code().name
            reason = error_of(error).reason
        except RestError as error:
            outcome, code = outcome_of_http(error.status), f"HTTP {error.status}"
            reason = error.reason
        order = getattr(answer, "order", None)
        self.history.note(
            Call(
                kind,
                getattr(request, "request_id", ""),
                order.order_id if order is not None else getattr(request, "order_id", ""),
                self._principal,
                outcome,
                code,
                reason,
                began,
                time.time(),
                version=order.version if order is not None else 0,
                state=state_of(order),
                pieces=pieces,
            )
        )
        return answer, outcome


def state_of(order: Any) -> str:
    """Such as CONFIRMED; empty without an order."""
    if order is None:
        return ""
    return OrderState.Name(order.state).removeprefix("ORDER_STATE_")


def principal_of(token: str) -> str:
    """Whose access token it is."""
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return str(claims["sub"])
