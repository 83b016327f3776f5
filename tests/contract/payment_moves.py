"""What sagas ask of the payment service."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import grpc
from trackops.payment.v1 import payment_pb2
from trackops.payment.v1 import payment_service_pb2 as pb

from trackops_common.testing import error_details

from .moves import Move, Pair, times
from .participant import Participant, Rpc

__all__ = ["AUTHORIZE", "AUTHORIZE_VOID", "CAPTURE", "MOVES", "REFUND", "VOID"]

_SERVICE = pb.DESCRIPTOR.services_by_name["PaymentService"]
_MODULE = "trackops_payment"
_HELD_MINOR, _TAKEN_MINOR, _GIVEN_BACK_MINOR = 1900, 700, 300
_REFUSED_CARD = "dec11ed0"
"""An order whose id begins so pays with a card that the provider refuses."""


def _new(_participant: Participant, number: int) -> Sequence[str]:
    return [str(uuid.uuid4()) for _ in range(number)]


def _authorize(order_id: str, request_id: str) -> pb.AuthorizePaymentRequest:
    return pb.AuthorizePaymentRequest(
        request_id=request_id,
        order_id=order_id,
        amount_minor=_HELD_MINOR,
        currency_code="EUR",
        payment_method_token="tok_declined" if order_id.startswith(_REFUSED_CARD) else "tok_ok",
    )


def _void(order_id: str, request_id: str) -> pb.VoidPaymentRequest:
    return pb.VoidPaymentRequest(request_id=request_id, order_id=order_id)


def _capture(order_id: str, request_id: str) -> pb.CapturePaymentRequest:
    return pb.CapturePaymentRequest(
        request_id=request_id, order_id=order_id, amount_minor=_TAKEN_MINOR
    )


def _refund(order_id: str, request_id: str) -> pb.RefundPaymentRequest:
    return pb.RefundPaymentRequest(
        request_id=request_id, order_id=order_id, amount_minor=_GIVEN_BACK_MINOR
    )


def _authorized(participant: Participant, number: int) -> Sequence[str]:
    orders = _new(participant, number)
    requests = [_authorize(id_, str(uuid.uuid4())) for id_ in orders]
    batch = pb.BatchAuthorizePaymentsRequest(requests=requests)
    participant.call(_SERVICE, "BatchAuthorizePayments", batch)
    return orders


def _captured(participant: Participant, number: int) -> Sequence[str]:
    orders = _authorized(participant, number)
    requests = [_capture(id_, str(uuid.uuid4())) for id_ in orders]
    batch = pb.BatchCapturePaymentsRequest(requests=requests)
    participant.call(_SERVICE, "BatchCapturePayments", batch)
    return orders


def _declined(_participant: Participant) -> tuple[str, str]:
    return _REFUSED_CARD + str(uuid.uuid4())[8:], "PAYMENT_DECLINED"


def _payment(participant: Participant, order_id: str) -> payment_pb2.Payment:
    """Of an order that nobody asked a payment for, an empty one."""
    try:
        request = pb.GetPaymentRequest(order_id=order_id)
        payment: payment_pb2.Payment = participant.call(_SERVICE, "GetPayment", request).payment
    except grpc.RpcError as error:
        assert error_details(error).reason == "PAYMENT_NOT_FOUND"
        return payment_pb2.Payment()
    return payment


def _is(state: payment_pb2.PaymentState.ValueType) -> Callable[[Participant, str], int]:
    return lambda participant, order_id: int(_payment(participant, order_id).state == state)


AUTHORIZE = Move(
    "authorize",
    _MODULE,
    Rpc(_SERVICE, "AuthorizePayment", "BatchAuthorizePayments"),
    _authorize,
    _new,
    "PaymentAuthorized",
    _is(payment_pb2.PAYMENT_STATE_AUTHORIZED),
)
VOID = Move(
    "void",
    _MODULE,
    Rpc(_SERVICE, "VoidPayment", "BatchVoidPayments"),
    _void,
    _authorized,
    "PaymentVoided",
    _is(payment_pb2.PAYMENT_STATE_VOIDED),
)
CAPTURE = Move(
    "capture",
    _MODULE,
    Rpc(_SERVICE, "CapturePayment", "BatchCapturePayments"),
    _capture,
    _authorized,
    "PaymentCaptured",
    lambda participant, id_: times(_payment(participant, id_).captured_minor, _TAKEN_MINOR),
)
REFUND = Move(
    "refund",
    _MODULE,
    Rpc(_SERVICE, "RefundPayment", "BatchRefundPayments"),
    _refund,
    _captured,
    "PaymentRefunded",
    lambda participant, id_: times(_payment(participant, id_).refunded_minor, _GIVEN_BACK_MINOR),
)
MOVES = (AUTHORIZE, VOID, CAPTURE, REFUND)

AUTHORIZE_VOID = Pair(AUTHORIZE, VOID, "PAYMENT_VOIDED", _declined)
