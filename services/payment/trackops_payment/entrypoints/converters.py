"""Requests as commands."""

from __future__ import annotations

from uuid import UUID

from trackops.payment.v1 import payment_service_pb2

from trackops_common.auth import Principal
from trackops_payment.application.authorize_payments import AuthorizePayment
from trackops_payment.application.move_payments import MovePayment
from trackops_payment.application.void_payments import VoidPayment
from trackops_payment.domain.movement import MovementKind
from trackops_payment.domain.payment import PaymentTerms

__all__ = ["authorize_command", "capture_command", "refund_command", "void_command"]


def authorize_command(
    request: payment_service_pb2.AuthorizePaymentRequest, principal: Principal
) -> AuthorizePayment:
    """The command of a valid request."""
    return AuthorizePayment(
        principal.name,
        request.request_id,
        UUID(request.order_id),
        PaymentTerms(request.amount_minor, request.currency_code, request.payment_method_token),
    )


def void_command(
    request: payment_service_pb2.VoidPaymentRequest, principal: Principal
) -> VoidPayment:
    """The command of a valid request."""
    return VoidPayment(principal.name, request.request_id, UUID(request.order_id))


def capture_command(
    request: payment_service_pb2.CapturePaymentRequest, principal: Principal
) -> MovePayment:
    """The command of a valid request."""
    return _move(MovementKind.CAPTURE, request, principal)


def refund_command(
    request: payment_service_pb2.RefundPaymentRequest, principal: Principal
) -> MovePayment:
    """The command of a valid request."""
    return _move(MovementKind.REFUND, request, principal)


def _move(
    kind: MovementKind,
    request: payment_service_pb2.CapturePaymentRequest | payment_service_pb2.RefundPaymentRequest,
    principal: Principal,
) -> MovePayment:
    return MovePayment(
        kind, principal.name, request.request_id, UUID(request.order_id), request.amount_minor
    )
