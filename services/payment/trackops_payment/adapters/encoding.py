"""Payments and their events as protobuf."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from trackops.payment.v1 import payment_events_pb2, payment_pb2, payment_service_pb2

from trackops_common.outbox import OutboxEvent
from trackops_payment.domain.events import (
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PaymentEvent,
    PaymentRefunded,
    PaymentVoided,
)
from trackops_payment.domain.movement import Movement, MovementKind, MovementState
from trackops_payment.domain.payment import Payment, PaymentState

__all__ = ["encode_movement", "encode_payment", "outbox_event"]

_STATES = {
    state: payment_pb2.PaymentState.Value(f"PAYMENT_STATE_{state}") for state in PaymentState
}
_KINDS = {
    kind: payment_pb2.PaymentMovementKind.Value(f"PAYMENT_MOVEMENT_KIND_{kind}")
    for kind in MovementKind
}
_MOVEMENT_STATES = {
    state: payment_pb2.PaymentMovementState.Value(f"PAYMENT_MOVEMENT_STATE_{state}")
    for state in MovementState
}


def encode_payment(payment: Payment, movements: Sequence[Movement] = ()) -> bytes:
    """A `GetPaymentResponse`, which the responses to authorise and to void equal on the wire."""
    return payment_service_pb2.GetPaymentResponse(
        payment=_payment(payment, movements)
    ).SerializeToString()


def encode_movement(payment: Payment, movement: Movement) -> bytes:
    """A `CapturePaymentResponse`, which a `RefundPaymentResponse` equals on the wire."""
    return payment_service_pb2.CapturePaymentResponse(
        payment=_payment(payment), movement=_movement(movement)
    ).SerializeToString()


def outbox_event(event: PaymentEvent, *, topic: str, traceparent: str) -> OutboxEvent:
    """The event as a row of the outbox."""
    payload = _payload(event)
    payment = event.payment
    return OutboxEvent(
        event_id=uuid.uuid4(),
        topic=topic,
        key=str(payment.order_id),
        type=payload.DESCRIPTOR.full_name,
        aggregate_version=payment.version,
        payload=payload.SerializeToString(),
        occurred_at=payment.update_time,
        traceparent=traceparent,
    )


def _payment(payment: Payment, movements: Sequence[Movement] = ()) -> payment_pb2.Payment:
    terms = payment.terms
    return payment_pb2.Payment(
        order_id=str(payment.order_id),
        state=_STATES[payment.state],
        amount_minor=terms.amount_minor if terms else 0,
        currency_code=terms.currency_code if terms else "",
        authorization_id=payment.authorization_id or "",
        decline_code=payment.decline_code or "",
        create_time=_timestamp(payment.create_time),
        update_time=_timestamp(payment.update_time),
        captured_minor=payment.sums.captured_minor,
        refunded_minor=payment.sums.refunded_minor,
        movements=map(_movement, movements),
    )


def _movement(movement: Movement) -> payment_pb2.PaymentMovement:
    return payment_pb2.PaymentMovement(
        movement_id=str(movement.key.movement_id),
        kind=_KINDS[movement.key.kind],
        state=_MOVEMENT_STATES[movement.state],
        amount_minor=movement.amount_minor,
        provider_id=movement.provider_id or "",
        decline_code=movement.decline_code or "",
        create_time=_timestamp(movement.create_time),
        update_time=_timestamp(movement.update_time),
    )


def _payload(event: PaymentEvent) -> Message:
    payment = event.payment
    order_id = str(payment.order_id)
    match event:
        case PaymentAuthorized():
            terms = payment.terms
            return payment_events_pb2.PaymentAuthorized(
                order_id=order_id,
                amount_minor=terms.amount_minor if terms else 0,
                currency_code=terms.currency_code if terms else "",
                authorization_id=payment.authorization_id or "",
            )
        case PaymentDeclined():
            return payment_events_pb2.PaymentDeclined(
                order_id=order_id, decline_code=payment.decline_code or ""
            )
        case PaymentVoided():
            return payment_events_pb2.PaymentVoided(
                order_id=order_id, authorization_id=payment.authorization_id or ""
            )
        case PaymentCaptured():
            return payment_events_pb2.PaymentCaptured(**_moved(payment, event.movement))
        case PaymentRefunded():
            return payment_events_pb2.PaymentRefunded(**_moved(payment, event.movement))


def _moved(payment: Payment, movement: Movement) -> dict[str, Any]:
    return {
        "order_id": str(payment.order_id),
        "amount_minor": movement.amount_minor,
        "currency_code": payment.terms.currency_code if payment.terms else "",
        "movement_id": str(movement.key.movement_id),
    }


@lru_cache(maxsize=1024)
def _timestamp(moment: datetime) -> Timestamp:
    """`moment` as a message, not to be changed: a batch has one moment and many payments."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message
