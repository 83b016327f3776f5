"""A payment provider that needs no network."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from trackops_common.errors import DependencyUnavailable
from trackops_payment.adapters.simulator_books import Books, Entry, Operation
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

__all__ = ["SimulatedProvider"]

_NAME = "the payment provider"
_DECLINES = {
    "declined": "card_declined",
    "expired_card": "expired_card",
    "insufficient_funds": "insufficient_funds",
}
_WAYS = "|".join([*_DECLINES, "unavailable", "slow", "timeout", "lost"])
_TOKEN = re.compile(f"tok_(?:(capture|void|refund)_)?({_WAYS})")
_AUTHORIZATION_ID = re.compile(f"auth_[0-9a-f]+_(capture|void|refund)_({_WAYS})")

A = TypeVar("A")


class SimulatedProvider:
    """A `PaymentProvider` whose every answer is a function of key and request.

    How a payment method's token begins decides what happens: `tok_`, then
    nothing for the authorization or `capture_`, `void_`, `refund_` for that
    operation, then the way it goes:

    - `declined`, `expired_card`, `insufficient_funds`: declined with that code
      (`card_declined` for the first); a void is never declined
    - `unavailable`: does not answer, and nothing is done
    - `timeout`: the same, after the delay
    - `slow`: done, after the delay
    - `lost`: done, but the first answer under a key is lost
    - anything else: done

    An authorization's id carries what its token says about later operations, so
    that a restart changes nothing but this: the books start empty, and with
    them the memory of which answers were lost.
    """

    def __init__(
        self,
        *,
        delay_seconds: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
        books: Books | None = None,
    ) -> None:
        """A set with slow requests in it is delayed once, all of it. Begins with empty books."""
        self.books = books or Books()
        self._delay_seconds = delay_seconds
        self._sleep = sleep

    def authorize(self, requests: Sequence[AuthorizationRequest]) -> Sequence[AuthorizationAnswer]:
        plans = [_plan(_TOKEN, r.terms.payment_method_token) for r in requests]
        ways = [way if operation == "authorize" else "" for operation, way in plans]
        self._delay(ways)
        return [
            self._authorize(request, plan, way)
            for request, plan, way in zip(requests, plans, ways, strict=True)
        ]

    def capture(self, requests: Sequence[MovementRequest]) -> Sequence[MovementAnswer]:
        return self._move("capture", requests)

    def refund(self, requests: Sequence[MovementRequest]) -> Sequence[MovementAnswer]:
        return self._move("refund", requests)

    def void(self, requests: Sequence[VoidRequest]) -> Sequence[VoidAnswer]:
        ways = [_way("void", request.authorization_id) for request in requests]
        self._delay(ways)
        return [
            self._enter(r.idempotency_key, Entry("void", r.authorization_id, 0), way)[1] or Voided()
            for r, way in zip(requests, ways, strict=True)
        ]

    def _authorize(
        self, request: AuthorizationRequest, plan: tuple[str, str], way: str
    ) -> AuthorizationAnswer:
        key, amount = request.idempotency_key, request.terms.amount_minor
        later = "_".join(("", *plan)) if plan[0] not in ("", "authorize") else ""
        held = Authorized(f"auth_{_digest(key)}{later}")
        return self._answer(key, Entry("authorize", held.authorization_id, amount), way, held)

    def _move(
        self, operation: Operation, requests: Sequence[MovementRequest]
    ) -> Sequence[MovementAnswer]:
        ways = [_way(operation, request.authorization_id) for request in requests]
        self._delay(ways)
        return [
            self._answer(
                request.idempotency_key,
                Entry(operation, request.authorization_id, request.amount_minor),
                way,
                Moved(f"{operation}_{_digest(request.idempotency_key)}"),
            )
            for request, way in zip(requests, ways, strict=True)
        ]

    def _answer(
        self, key: str, entry: Entry, way: str, done: A
    ) -> A | Declined | DependencyUnavailable:
        if way in _DECLINES:
            entry = replace(entry, decline_code=_DECLINES[way])
        standing, lost = self._enter(key, entry, way)
        if lost:
            return lost
        return Declined(standing.decline_code) if standing.decline_code else done

    def _enter(
        self, key: str, entry: Entry, way: str
    ) -> tuple[Entry, DependencyUnavailable | None]:
        """What stands in the books under `key`, and the error in place of an answer."""
        if way in ("unavailable", "timeout"):
            return entry, DependencyUnavailable(_NAME)
        standing, new = self.books.once(key, entry)
        return standing, DependencyUnavailable(_NAME) if new and way == "lost" else None

    def _delay(self, ways: Iterable[str]) -> None:
        if not {"slow", "timeout"}.isdisjoint(ways):
            self._sleep(self._delay_seconds)


def _plan(pattern: re.Pattern[str], text: str) -> tuple[str, str]:
    """The operation that goes its own way, and that way; empty where none does."""
    match = pattern.match(text)
    return (match[1] or "authorize", match[2]) if match else ("", "")


def _way(operation: Operation, authorization_id: str) -> str:
    planned, way = _plan(_AUTHORIZATION_ID, authorization_id)
    return way if planned == operation else ""


def _digest(key: str) -> str:
    return hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
