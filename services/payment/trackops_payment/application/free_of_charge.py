"""Amounts of 0, which no provider is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from trackops_payment.application.ports import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Authorized,
    Moved,
    MovementAnswer,
    MovementRequest,
    PaymentProvider,
    VoidAnswer,
    Voided,
    VoidRequest,
)

__all__ = ["FREE", "FreeOfCharge"]

FREE = "free"
"""In place of the provider's own name for what it was not asked for."""

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True)
class FreeOfCharge:
    """A `PaymentProvider` that grants requests over 0 itself and hands `provider` the others.

    A free order, or a shipment of free lines, so takes the same way as any other.
    """

    provider: PaymentProvider

    def authorize(self, requests: Sequence[AuthorizationRequest]) -> Sequence[AuthorizationAnswer]:
        return _granting(requests, _free_authorization, self.provider.authorize)

    def capture(self, requests: Sequence[MovementRequest]) -> Sequence[MovementAnswer]:
        return _granting(requests, _free_movement, self.provider.capture)

    def void(self, requests: Sequence[VoidRequest]) -> Sequence[VoidAnswer]:
        return _granting(requests, _free_void, self.provider.void)

    def refund(self, requests: Sequence[MovementRequest]) -> Sequence[MovementAnswer]:
        return _granting(requests, _free_movement, self.provider.refund)


def _free_authorization(request: AuthorizationRequest) -> Authorized | None:
    return None if request.terms.amount_minor else Authorized(FREE)


def _free_movement(request: MovementRequest) -> Moved | None:
    return None if request.amount_minor else Moved(FREE)


def _free_void(request: VoidRequest) -> Voided | None:
    return Voided() if request.authorization_id == FREE else None


def _granting(
    requests: Sequence[Q], grant: Callable[[Q], A | None], ask: Callable[[Sequence[Q]], Sequence[A]]
) -> Sequence[A]:
    granted = [grant(request) for request in requests]
    rest = [request for request, answer in zip(requests, granted, strict=True) if answer is None]
    answers = iter(ask(rest) if rest else ())
    return [answer if answer is not None else next(answers) for answer in granted]
