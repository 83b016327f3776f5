"""The order domain's errors on the wire."""

from __future__ import annotations

import grpc
from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_common.grpc.failures import Failure
from trackops_order.domain.errors import (
    EtagMismatch,
    ForbiddenTransition,
    InvalidOrder,
    OrderNotFound,
    TooManyPieces,
    VersionNotReached,
)

__all__ = ["order_failure"]


def order_failure(error: Exception) -> Failure | None:
    """The failure that an error of this domain is; None for any other error."""
    match error:
        case OrderNotFound():
            return Failure(
                grpc.StatusCode.NOT_FOUND,
                ErrorReason.ERROR_REASON_ORDER_NOT_FOUND,
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
        case EtagMismatch():
            return Failure(
                grpc.StatusCode.ABORTED,
                ErrorReason.ERROR_REASON_ETAG_MISMATCH,
                str(error),
                {"order_id": str(error.order_id), "etag": error.etag, "current": error.current},
            )
        case VersionNotReached():
            return Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_VERSION_NOT_REACHED,
                str(error),
                {
                    "order_id": str(error.order_id),
                    "min_version": str(error.min_version),
                    "version": str(error.version),
                },
            )
        case TooManyPieces():
            return Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_TOO_MANY_PIECES,
                str(error),
                {
                    "order_id": str(error.order_id),
                    "sku": error.sku,
                    "requested": str(error.requested),
                    "available": str(error.available),
                },
            )
        case InvalidOrder():
            return Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                ErrorReason.ERROR_REASON_INVALID_REQUEST,
                str(error),
                violations=[(error.field, error.problem)],
            )
        case _:
            return None
