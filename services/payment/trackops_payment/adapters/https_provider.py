"""A payment provider over HTTPS; `docs/payment-provider.md` has its API."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import certifi
import httpx
import structlog

from trackops_common.circuit_breaker import CircuitBreaker, CircuitOpen, CircuitState
from trackops_common.errors import DependencyUnavailable, StartRefused
from trackops_payment.application.ports import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Authorized,
    Declined,
    Moved,
    MovementAnswer,
    MovementRequest,
    VoidAnswer,
    Voided,
    VoidRequest,
)

__all__ = ["HttpsProvider", "HttpsProviderOptions"]

_log = structlog.get_logger(__name__)

_NAME = "the payment provider"
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_CODE = re.compile(r"[a-z0-9_]{1,64}")
_DONE = (200, 201)
_DECLINED = 402
_BUSY = 409
_AILING = (408, 425, 429)

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsProviderOptions:
    """Where the provider is, and how much of our time it gets. `PaymentSettings` says more."""

    url: str
    api_key: str
    ca_file: Path | None = None
    connect_timeout_seconds: float = 2.0
    read_timeout_seconds: float = 8.0
    total_timeout_seconds: float = 10.0
    concurrency: int = 32
    breaker_failures: int = 10
    breaker_reset_seconds: float = 5.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={self.url!r})"


class _Ailing(Exception):
    """The provider answered that it cannot work at present, or not in its own API's terms."""


class HttpsProvider:
    """A `PaymentProvider` behind a circuit breaker.

    A set is asked for with requests side by side, on an event loop in a thread
    of its own: there, a total timeout ends a request wherever it stands, also
    one whose answer comes byte by byte. Nothing is sent a second time.
    """

    def __init__(
        self, options: HttpsProviderOptions, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Connects on first use. `clock` is the circuit breaker's, in seconds.

        Raises:
            StartRefused: the file of authorities cannot be read as PEM.
        """
        self._options = options
        self._breaker = CircuitBreaker(
            _NAME,
            failures=options.breaker_failures,
            reset_seconds=options.breaker_reset_seconds,
            clock=clock,
            on_change=_log_change,
        )
        self._places = asyncio.Semaphore(options.concurrency)
        self._client = _client(options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="payment-provider", daemon=True
        )
        self._thread.start()
        # They log a line or more for each request.
        for library in ("httpx", "httpcore"):
            logging.getLogger(library).setLevel(logging.WARNING)

    @property
    def circuit(self) -> CircuitState:
        """Whether the provider is asked at present."""
        return self._breaker.state

    def close(self) -> None:
        """End every connection. Nobody may ask any more."""
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def authorize(self, requests: Sequence[AuthorizationRequest]) -> Sequence[AuthorizationAnswer]:
        return self._each(self._authorize, requests)

    def capture(self, requests: Sequence[MovementRequest]) -> Sequence[MovementAnswer]:
        return self._each(self._capture, requests)

    def void(self, requests: Sequence[VoidRequest]) -> Sequence[VoidAnswer]:
        return self._each(self._void, requests)

    def refund(self, requests: Sequence[MovementRequest]) -> Sequence[MovementAnswer]:
        return self._each(self._refund, requests)

    def _each(
        self, ask: Callable[[Q], Coroutine[Any, Any, A]], requests: Sequence[Q]
    ) -> Sequence[A]:
        async def ask_all() -> Sequence[A]:
            return await asyncio.gather(*map(ask, requests))

        return asyncio.run_coroutine_threadsafe(ask_all(), self._loop).result()

    async def _authorize(self, request: AuthorizationRequest) -> AuthorizationAnswer:
        terms = request.terms
        body = {
            "amount_minor": terms.amount_minor,
            "currency_code": terms.currency_code,
            "payment_method_token": terms.payment_method_token,
        }
        answer = await self._ask(
            "/v1/authorizations", request.idempotency_key, body, "authorization_id"
        )
        return Authorized(answer) if isinstance(answer, str) else answer

    async def _capture(self, request: MovementRequest) -> MovementAnswer:
        return await self._move("captures", request, "capture_id")

    async def _refund(self, request: MovementRequest) -> MovementAnswer:
        return await self._move("refunds", request, "refund_id")

    async def _move(self, what: str, request: MovementRequest, id_field: str) -> MovementAnswer:
        path = f"/v1/authorizations/{request.authorization_id}/{what}"
        body = {"amount_minor": request.amount_minor, "currency_code": request.currency_code}
        answer = await self._ask(path, request.idempotency_key, body, id_field)
        return Moved(answer) if isinstance(answer, str) else answer

    async def _void(self, request: VoidRequest) -> VoidAnswer:
        path = f"/v1/authorizations/{request.authorization_id}/void"
        answer = await self._ask(path, request.idempotency_key, {}, None)
        if isinstance(answer, Declined):
            _log.error("the payment provider declined a void", code=answer.decline_code)
            return DependencyUnavailable(_NAME)
        return Voided() if isinstance(answer, str) else answer

    async def _ask(
        self, path: str, key: str, body: Mapping[str, object], id_field: str | None
    ) -> str | Declined | DependencyUnavailable:
        """The id in the answer, or "" where `id_field` is None; or what came instead of it."""
        try:
            async with asyncio.timeout(self._options.total_timeout_seconds):
                await self._places.acquire()
        except TimeoutError:
            return DependencyUnavailable(_NAME)
        try:
            with self._breaker.call():
                async with asyncio.timeout(self._options.total_timeout_seconds):
                    response = await self._client.post(
                        path, json=body, headers={"Idempotency-Key": key}
                    )
                return _meaning(response, id_field)
        except CircuitOpen as error:
            return error
        except (httpx.HTTPError, TimeoutError, _Ailing) as error:
            _log.warning("the payment provider gave no answer", key=key, error=_describe(error))
            return DependencyUnavailable(_NAME)
        finally:
            self._places.release()


def _client(options: HttpsProviderOptions) -> httpx.AsyncClient:
    try:
        context = ssl.create_default_context(cafile=str(options.ca_file or certifi.where()))
    except (OSError, ssl.SSLError) as error:
        raise StartRefused(
            f"TRACKOPS_PAYMENT_PROVIDER_CA_FILE: no certificates in {options.ca_file}: {error}"
        ) from error
    return httpx.AsyncClient(
        base_url=options.url,
        headers={
            "Authorization": f"Bearer {options.api_key}",
            "Accept": "application/json",
            "User-Agent": "trackops-payment",
        },
        verify=context,
        # The environment may name proxies and authorities; only the settings are to decide.
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(
            options.read_timeout_seconds, connect=options.connect_timeout_seconds
        ),
        limits=httpx.Limits(
            max_connections=options.concurrency, max_keepalive_connections=options.concurrency
        ),
    )


def _meaning(
    response: httpx.Response, id_field: str | None
) -> str | Declined | DependencyUnavailable:
    """What an answer says.

    Raises:
        _Ailing: it says that the provider cannot work at present, or nothing that we understand.
    """
    status = response.status_code
    if status in _AILING or status >= 500:
        raise _Ailing(f"status {status}")
    if status in _DONE:
        return _text(response, _ID, id_field) if id_field else ""
    if status == _DECLINED:
        return Declined(_text(response, _CODE, "error", "code"))
    if status != _BUSY:
        _log.error("the payment provider refuses what it is asked", status=status)
    return DependencyUnavailable(_NAME)


def _text(response: httpx.Response, shape: re.Pattern[str], *path: str) -> str:
    """The text at `path` in the body. The body itself is never shown: it may hold anything."""
    try:
        value: Any = response.json()
        for name in path:
            value = value[name]
        if shape.fullmatch(value):
            return str(value)
    except (ValueError, LookupError, TypeError):
        pass
    _log.error("the payment provider's answer has another shape", status=response.status_code)
    raise _Ailing(f"status {response.status_code} with no {'.'.join(path)}")


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _log_change(state: CircuitState) -> None:
    log = _log.info if state is CircuitState.CLOSED else _log.warning
    log("the payment provider's circuit changed", state=str(state))
