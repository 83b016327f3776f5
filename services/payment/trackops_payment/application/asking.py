"""What the use cases that ask the provider have alike.

They answer a batch in two transactions with the provider in between. The first
answers what it can, and `ASK` for the rest, which the second answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from trackops_common.errors import RequestIdReused, TransientError
from trackops_common.idempotency import IdempotentCommand, StoredRequest
from trackops_payment.application.ports import AuthorizationRequest, VoidRequest
from trackops_payment.domain.errors import PaymentError
from trackops_payment.domain.payment import Payment

__all__ = [
    "ASK",
    "PaymentCommand",
    "PaymentOutcome",
    "answer_the_rest",
    "answered_orders",
    "asked_orders",
    "authorization_request",
    "given_responses",
    "void_request",
]

ASK = b""
"""In place of a response that only the provider can decide. Never stored, never sent."""


class PaymentCommand(IdempotentCommand, Protocol):
    """A command about the payment of one order."""

    @property
    def order_id(self) -> UUID: ...


C = TypeVar("C", bound=PaymentCommand)
PaymentOutcome = bytes | PaymentError | RequestIdReused | TransientError


def asked_orders(commands: Iterable[C], outcomes: Iterable[PaymentOutcome]) -> set[UUID]:
    """The orders of the commands that were answered `ASK`."""
    return {
        command.order_id
        for command, outcome in zip(commands, outcomes, strict=True)
        if outcome == ASK
    }


def answered_orders(commands: Iterable[C], outcomes: Iterable[PaymentOutcome]) -> set[UUID]:
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
    answers: Mapping[UUID, object],
    record: Callable[[Sequence[C]], Sequence[PaymentOutcome]],
) -> Sequence[PaymentOutcome]:
    """`outcomes` with each `ASK` replaced: by the provider's transient error, or by `record`.

    `answers` has the provider's answer for every order that was asked for;
    `record` gets the commands whose answer is not an error, in their order.
    """
    failed = {id_: error for id_, error in answers.items() if isinstance(error, TransientError)}
    asked = [c for c, outcome in zip(commands, outcomes, strict=True) if outcome == ASK]
    rest = [command for command in asked if command.order_id not in failed]
    recorded = iter(record(rest) if rest else ())
    return [
        outcome if outcome != ASK else failed.get(command.order_id) or next(recorded)
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
