"""What the use cases need of the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from trackops_common.errors import TransientError
from trackops_common.idempotency import RequestStore
from trackops_payment.domain.events import PaymentEvent
from trackops_payment.domain.payment import Payment, PaymentTerms

__all__ = [
    "AuthorizationAnswer",
    "AuthorizationRequest",
    "Authorized",
    "Declined",
    "EncodePayment",
    "PaymentProvider",
    "PaymentReader",
    "PaymentRepository",
    "UnitOfWork",
    "UnitOfWorkFactory",
    "VoidAnswer",
    "VoidRequest",
    "Voided",
]

EncodePayment = Callable[[Payment], bytes]
"""A payment as the response message that shows it, in wire form."""


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


AuthorizationAnswer = Authorized | Declined | TransientError
"""A `TransientError` says that the outcome is unknown: it may or may not have been done."""
VoidAnswer = Voided | TransientError


class PaymentProvider(Protocol):
    """The outside system that holds money for us.

    It remembers idempotency keys: the first request under a key decides, and
    every later one gets the same answer and changes nothing, also after a void.
    Answers are as many as requests, in their order; what is wrong with one
    request is its answer, never an exception.
    """

    def authorize(self, requests: Sequence[AuthorizationRequest]) -> Sequence[AuthorizationAnswer]:
        """Hold amounts."""
        ...

    def void(self, requests: Sequence[VoidRequest]) -> Sequence[VoidAnswer]:
        """Let go of amounts."""
        ...


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


class UnitOfWork(Protocol):
    """One transaction; rolled back unless committed."""

    @property
    def payments(self) -> PaymentRepository: ...
    @property
    def requests(self) -> RequestStore: ...

    def commit(self, events: Sequence[PaymentEvent] = ()) -> None:
        """End the unit of work; the events leave with it, in this order."""
        ...


UnitOfWorkFactory = Callable[[], AbstractContextManager[UnitOfWork]]


class PaymentReader(Protocol):
    """Reads committed payments."""

    def get(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Payment]:
        """The payments that exist."""
        ...
