"""What the use cases that ask the provider have alike.

They answer a batch in two transactions with the provider in between. The first
answers what it can, and `ASK` for the rest, which the second answers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from uuid import UUID

from trackops_common.errors import RequestIdReused, TransientError
from trackops_common.idempotency import IdempotentCommand, StoredRequest
from trackops_payment.application.ports import (
    AuthorizationRequest,
    MovementRequest,
    VoidRequest,
)
from trackops_payment.domain.errors import PaymentError
from trackops_payment.domain.movement import Movement
from trackops_payment.domain.payment import Payment

__all__ = [
    "ASK",
    "PaymentCommand",
    "PaymentOutcome",
    "answer_the_rest",
    "answered_orders",
    "asked_about",
    "authorization_request",
    "given_responses",
    "movement_request",
    "void_request",
]

ASK = b""
"""In place of a response that only the provider can decide. Never stored, never sent."""


K_co = TypeVar("K_co", bound=Hashable, covariant=True)
K = TypeVar("K", bound=Hashable)


class PaymentCommand(IdempotentCommand, Protocol[K_co]):
    """A command about the payment of one order."""

    @property
    def order_id(self) -> UUID: ...

    @property
    def subject(self) -> K_co:
        """What the provider is asked about: equal for commands that one answer serves."""
        ...


C = TypeVar("C", bound=PaymentCommand[Any])
PaymentOutcome = bytes | PaymentError | RequestIdReused | TransientError


def asked_about(
    commands: Iterable[PaymentCommand[K]], outcomes: Iterable[PaymentOutcome]
) -> list[K]:
    """What the commands that were answered `ASK` are about, each once, in their order."""
    pairs = zip(commands, outcomes, strict=True)
    return list(dict.fromkeys(command.subject for command, outcome in pairs if outcome == ASK))


def answered_orders(
    commands: Iterable[PaymentCommand[Hashable]], outcomes: Iterable[PaymentOutcome]
) -> set[UUID]:
    """The orders of the commands that were not refused."""
    return {
        command.order_id
        for command, outcome in zip(commands, outcomes, strict=True)
        if isinstance(outcome, bytes)
    }


def given_responses(requests: Iterable[StoredRequest]) -> list[StoredRequest]:
    """Those of `requests` that have their response already."""
    return [request for request in requests if request.response != ASK]


def answer_the_rest(
    commands: Sequence[C],
    outcomes: Sequence[PaymentOutcome],
    answers: Mapping[Any, object],
    record: Callable[[Sequence[C]], Sequence[PaymentOutcome]],
) -> Sequence[PaymentOutcome]:
    """`outcomes` with each `ASK` replaced: by the provider's transient error, or by `record`.

    `answers` has the provider's answer for every subject that was asked about;
    `record` gets the commands whose answer is not an error, in their order.
    """
    failed = {key: error for key, error in answers.items() if isinstance(error, TransientError)}
    asked = [c for c, outcome in zip(commands, outcomes, strict=True) if outcome == ASK]
    rest = [command for command in asked if command.subject not in failed]
    recorded = iter(record(rest) if rest else ())
    return [
        outcome if outcome != ASK else failed.get(command.subject) or next(recorded)
        for command, outcome in zip(commands, outcomes, strict=True)
    ]


def authorization_request(payment: Payment) -> AuthorizationRequest:
    """What the provider is asked for a payment with terms; always the same for one order."""
    if payment.terms is None:
        raise ValueError(f"the payment of order {payment.order_id} has no terms")
    return AuthorizationRequest(f"authorize-{payment.order_id}", payment.terms)


def void_request(order_id: UUID, authorization_id: str) -> VoidRequest:
    """How the provider is told to let go; always the same for one order."""
    return VoidRequest(f"void-{order_id}", authorization_id)


def movement_request(payment: Payment, movement: Movement) -> MovementRequest:
    """What the provider is asked for a movement; always the same for one movement."""
    if payment.terms is None or payment.authorization_id is None:
        raise ValueError(f"the payment of order {payment.order_id} never held anything")
    key = movement.key
    return MovementRequest(
        f"{key.kind.lower()}-{key.order_id}-{key.movement_id}",
        payment.authorization_id,
        movement.amount_minor,
        payment.terms.currency_code,
    )
