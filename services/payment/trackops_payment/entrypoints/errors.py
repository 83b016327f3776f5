"""The payment domain's errors on the wire."""

from __future__ import annotations

import grpc
from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_common.grpc.failures import Failure
from trackops_payment.domain.errors import (
    AmountTooHigh,
    AuthorizationDeclined,
    AuthorizationVoided,
    CaptureUnanswered,
    ForbiddenTransition,
    MovementDeclined,
    MovementOnOtherTerms,
    PaymentError,
    PaymentNotFound,
)

__all__ = ["payment_failure"]


_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


def payment_failure(error: Exception) -> Failure | None:
    """The failure that an error of this domain is; None for any other error."""
    match error:
        case PaymentNotFound():
            return _failure(
                grpc.StatusCode.NOT_FOUND, ErrorReason.ERROR_REASON_PAYMENT_NOT_FOUND, error
            )
        case AuthorizationDeclined() | MovementDeclined():
            reason = ErrorReason.ERROR_REASON_PAYMENT_DECLINED
            return _failure(_PRECONDITION, reason, error, decline_code=error.decline_code)
        case AuthorizationVoided():
            return _failure(_PRECONDITION, ErrorReason.ERROR_REASON_PAYMENT_VOIDED, error)
        case AmountTooHigh():
            return _failure(
                _PRECONDITION,
                ErrorReason.ERROR_REASON_AMOUNT_TOO_HIGH,
                error,
                requested_minor=str(error.requested_minor),
                available_minor=str(error.available_minor),
            )
        case ForbiddenTransition():
            reason = ErrorReason.ERROR_REASON_FORBIDDEN_TRANSITION
            return _failure(_PRECONDITION, reason, error, **{"from": error.frm, "to": error.to})
        case MovementOnOtherTerms():
            return Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                ErrorReason.ERROR_REASON_REQUEST_ID_REUSED,
                str(error),
                {"request_id": str(error.movement_id)},
            )
        case CaptureUnanswered():
            return _failure(
                grpc.StatusCode.UNAVAILABLE,
                ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE,
                error,
            )
        case _:
            return None


def _failure(
    code: grpc.StatusCode, reason: ErrorReason.ValueType, error: PaymentError, **metadata: str
) -> Failure:
    return Failure(code, reason, str(error), {"order_id": str(error.order_id), **metadata})
