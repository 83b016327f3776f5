"""Payments made as far as a test needs them, and what their use cases answer."""

from __future__ import annotations

from uuid import UUID, uuid4

from trackops.payment.v1 import payment_service_pb2

from trackops_payment.application.asking import PaymentOutcome
from trackops_payment.domain.payment import PaymentSums

from .payment_fakes import Payments

__all__ = ["authorized", "captured", "response", "sums"]


def response(outcome: PaymentOutcome) -> payment_service_pb2.CapturePaymentResponse:
    assert isinstance(outcome, bytes), outcome
    return payment_service_pb2.CapturePaymentResponse.FromString(outcome)


def authorized(payments: Payments, amount: int = 500, token: str = "tok_visa") -> UUID:
    order_id = uuid4()
    assert isinstance(payments.authorize(order_id, amount=amount, token=token), bytes)
    return order_id


def captured(payments: Payments, amount: int = 500, token: str = "tok_visa") -> UUID:
    """An order of 500 of which `amount` was captured."""
    order_id = authorized(payments, token=token)
    assert isinstance(payments.capture(order_id, amount), bytes)
    return order_id


def sums(payments: Payments, order_id: UUID) -> tuple[int, int, int, int]:
    """capturing, captured, refunding, refunded."""
    stored: PaymentSums = payments.stored(order_id)[0].sums
    return (
        stored.capturing_minor,
        stored.captured_minor,
        stored.refunding_minor,
        stored.refunded_minor,
    )
