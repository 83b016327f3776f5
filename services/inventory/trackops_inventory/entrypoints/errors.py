"""The inventory domain's errors on the wire."""

from __future__ import annotations

import grpc
from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_common.grpc.failures import Failure
from trackops_inventory.domain.errors import (
    InsufficientStock,
    InvalidReservation,
    ReservationNotFound,
    ReservationReleased,
    ReservedOtherwise,
    SkuNotFound,
    TooManyPieces,
)

__all__ = ["inventory_failure"]


def inventory_failure(error: Exception) -> Failure | None:
    """The failure that an error of this domain is; None for any other error."""
    match error:
        case SkuNotFound():
            return Failure(
                grpc.StatusCode.NOT_FOUND,
                ErrorReason.ERROR_REASON_SKU_NOT_FOUND,
                str(error),
                {"sku": error.sku},
            )
        case InsufficientStock():
            return Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_INSUFFICIENT_STOCK,
                str(error),
                {
                    "sku": error.sku,
                    "requested": str(error.requested),
                    "available": str(error.available),
                },
            )
        case ReservationReleased():
            return Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_RESERVATION_RELEASED,
                str(error),
                {"order_id": str(error.order_id)},
            )
        case ReservedOtherwise():
            return Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_FORBIDDEN_TRANSITION,
                str(error),
                {"order_id": str(error.order_id), "from": error.state, "to": "HELD"},
            )
        case ReservationNotFound():
            return Failure(
                grpc.StatusCode.NOT_FOUND,
                ErrorReason.ERROR_REASON_RESERVATION_NOT_FOUND,
                str(error),
                {"order_id": str(error.order_id)},
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
        case InvalidReservation():
            return Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                ErrorReason.ERROR_REASON_INVALID_REQUEST,
                str(error),
                violations=[(error.field, error.problem)],
            )
        case _:
            return None
