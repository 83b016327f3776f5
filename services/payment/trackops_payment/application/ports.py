"""What the use cases need of the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from trackops_common.errors import TransientError
from trackops_common.idempotency import RequestStore
from trackops_payment.domain.events import PaymentEvent
from trackops_payment.domain.movement import Movement, MovementKey
from trackops_payment.domain.payment import Payment, PaymentTerms

__all__ = [
    "AuthorizationAnswer",
    "AuthorizationRequest",
    "Authorized",
    "Declined",
    "EncodeMovement",
    "EncodePayment",
    "EncodePaymentHistory",
    "HoldProvider",
    "MoveProvider",
    "Moved",
    "MovementAnswer",
    "MovementRepository",
    "MovementRequest",
    "PaymentProvider",
    "PaymentReader",
    "PaymentRepository",
    "Unanswered",
    "UnansweredPayments",
    "UnitOfWork",
    "UnitOfWorkFactory",
    "VoidAnswer",
    "VoidRequest",
    "Voided",
]

EncodePayment = Callable[[Payment], bytes]
"""A payment as the response message that shows it, in wire form."""
EncodeMovement = Callable[[Payment, Movement], bytes]
"""A payment and one of its movements as the response message that shows both, in wire form."""
EncodePaymentHistory = Callable[[Payment, Sequence[Movement]], bytes]
"""A payment with all its movements as the response message that shows it, in wire form."""


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """Hold an amount. Asking twice under one key never holds it twice."""

    idempotency_key: str
    terms: PaymentTerms


@dataclass(frozen=True, slots=True)
class VoidRequest:
    """Let go of what was held. Asking twice is harmless."""

    idempotency_key: str
    authorization_id: str


@dataclass(frozen=True, slots=True)
class MovementRequest:
    """Take some of what is held, or give back some of what was taken.

    Asking twice under one key never moves it twice.
    """

    idempotency_key: str
    authorization_id: str
    amount_minor: int
    currency_code: str


@dataclass(frozen=True, slots=True)
class Authorized:
    """The provider holds the amount, or held it: a void since then changes no answer."""

    authorization_id: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider refused."""

    decline_code: str


@dataclass(frozen=True, slots=True)
class Voided:
    """The provider holds nothing under this authorization."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The provider took the amount, or gave it back, under this name of its own."""

    provider_id: str


AuthorizationAnswer = Authorized | Declined | TransientError
"""A `TransientError` says that the outcome is unknown: it may or may not have been done."""
VoidAnswer = Voided | TransientError
MovementAnswer = Moved | Declined | TransientError


class HoldProvider(Protocol):
    """The side of a `PaymentProvider` that holds money and lets go of it."""

    def authorize(self, requests: Sequence[AuthorizationRequest]) -> Sequence[AuthorizationAnswer]:
        """Hold amounts."""
        ...

    def void(self, requests: Sequence[VoidRequest]) -> Sequence[VoidAnswer]:
        """Let go of what is still held."""
        ...


class MoveProvider(Protocol):
    """The side of a `PaymentProvider` that takes money and gives it back."""

    def capture(self, requests: Sequence[MovementRequest]) -> Sequence[MovementAnswer]:
        """Take some or all of what is held."""
        ...

    def refund(self, requests: Sequence[MovementRequest]) -> Sequence[MovementAnswer]:
        """Give back some or all of what was captured under the authorization."""
        ...


class PaymentProvider(HoldProvider, MoveProvider, Protocol):
    """The outside system that holds and moves money for us.

    It remembers idempotency keys: the first request under a key decides, and
    every later one gets the same answer and changes nothing, also after a void.
    Answers are as many as requests, in their order; what is wrong with one
    request is its answer, never an exception.
    """


class PaymentRepository(Protocol):
    """The payments, within one unit of work."""

    def claim(self, proposed: Sequence[Payment]) -> Mapping[UUID, Payment]:
        """What stands for each order of `proposed`, and stays ours until the unit of work ends.

        That is the very object proposed, now stored, where the order had no
        payment, and else the one it had. `proposed` has each order once.
        Another unit of work that claims or locks one of the orders waits for us.
        """
        ...

    def lock(self, order_ids: Iterable[UUID]) -> Mapping[UUID, Payment]:
        """The payments that exist, locked until the end of the unit of work."""
        ...

    def save(self, payments: Sequence[Payment]) -> None:
        """Store claimed or locked payments that changed since."""
        ...

    def withdraw(self, order_ids: Iterable[UUID]) -> None:
        """Take back payments that `claim` stored in this unit of work."""
        ...


class MovementRepository(Protocol):
    """The movements of payments that are locked, within one unit of work."""

    def find(self, keys: Iterable[MovementKey]) -> Mapping[MovementKey, Movement]:
        """The movements that exist among `keys`."""
        ...

    def add(self, movements: Sequence[Movement]) -> None:
        """Store new movements."""
        ...

    def save(self, movements: Sequence[Movement]) -> None:
        """Store movements that changed since they were found."""
        ...


class UnitOfWork(Protocol):
    """One transaction; rolled back unless committed."""

    @property
    def payments(self) -> PaymentRepository: ...
    @property
    def movements(self) -> MovementRepository: ...
    @property
    def requests(self) -> RequestStore: ...

    def commit(self, events: Sequence[PaymentEvent] = (), traces: Sequence[str] = ()) -> None:
        """End the unit of work; the events leave with it, in this order.

        `traces` has the `traceparent` of each event's command, or is empty: none has one.
        """
        ...


UnitOfWorkFactory = Callable[[], AbstractContextManager[UnitOfWork]]


class PaymentReader(Protocol):
    """Reads committed payments."""

    def get(self, order_ids: Sequence[UUID]) -> Mapping[UUID, tuple[Payment, Sequence[Movement]]]:
        """The payments that exist, each with its movements, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Unanswered:
    """What was sent to the provider and has no recorded answer."""

    authorizations: Sequence[Payment]
    voids: Sequence[Payment]
    movements: Sequence[tuple[Payment, Movement]]


class UnansweredPayments(Protocol):
    """Finds what waits for the provider's answer, among committed rows."""

    def find(self, *, before: datetime, limit: int) -> Unanswered:
        """Some of what was sent before that moment, at most `limit` of each kind.

        In no order, so that what stays unanswered for long leaves room for the rest.
        """
        ...
