"""Facts about payments, named in the past tense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trackops_payment.domain.payment import Payment

__all__ = ["PaymentAuthorized", "PaymentDeclined", "PaymentEvent", "PaymentVoided"]


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


PaymentEvent = PaymentAuthorized | PaymentDeclined | PaymentVoided
