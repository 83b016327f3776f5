"""The payment domain's errors on the wire."""

from __future__ import annotations

import grpc
from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_common.grpc.failures import Failure
from trackops_payment.domain.errors import (
    AuthorizationDeclined,
    AuthorizationVoided,
    ForbiddenTransition,
    PaymentNotFound,
)

__all__ = ["payment_failure"]


def payment_failure(error: Exception) -> Failure | None:
    """The failure that an error of this domain is; None for any other error."""
    match error:
        case PaymentNotFound():
            return Failure(
                grpc.StatusCode.NOT_FOUND,
                ErrorReason.ERROR_REASON_PAYMENT_NOT_FOUND,
                str(error),
                {"order_id": str(error.order_id)},
            )
        case AuthorizationDeclined():
            return Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_PAYMENT_DECLINED,
                str(error),
                {"order_id": str(error.order_id), "decline_code": error.decline_code},
            )
        case AuthorizationVoided():
            return Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_PAYMENT_VOIDED,
                str(error),
                {"order_id": str(error.order_id)},
            )
        case ForbiddenTransition():
            return Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_FORBIDDEN_TRANSITION,
                str(error),
                {"order_id": str(error.order_id), "from": error.frm, "to": error.to},
            )
        case _:
            return None
