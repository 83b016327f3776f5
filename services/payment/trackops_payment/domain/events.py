"""Facts about payments, named in the past tense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trackops_payment.domain.movement import Movement
    from trackops_payment.domain.payment import Payment

__all__ = [
    "PaymentAuthorized",
    "PaymentCaptured",
    "PaymentDeclined",
    "PaymentEvent",
    "PaymentRefunded",
    "PaymentVoided",
]


@dataclass(frozen=True, slots=True)
class PaymentAuthorized:
    """The provider holds the amount."""

    payment: Payment


@dataclass(frozen=True, slots=True)
class PaymentDeclined:
    """The provider refused; `payment.decline_code` says why."""

    payment: Payment


@dataclass(frozen=True, slots=True)
class PaymentVoided:
    """The provider let go of an amount that it held."""

    payment: Payment


@dataclass(frozen=True, slots=True)
class PaymentCaptured:
    """The provider took an amount out of what it holds."""

    payment: Payment
    """As it was right after: one batch may bring a payment several movements."""
    movement: Movement


@dataclass(frozen=True, slots=True)
class PaymentRefunded:
    """The provider gave an amount back that was captured."""

    payment: Payment
    """As it was right after: one batch may bring a payment several movements."""
    movement: Movement


PaymentEvent = (
    PaymentAuthorized | PaymentDeclined | PaymentVoided | PaymentCaptured | PaymentRefunded
)
