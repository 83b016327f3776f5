"""The relay's errors on the wire."""

from __future__ import annotations

import grpc
from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_common.grpc.failures import Failure
from trackops_outbox_relay.domain.errors import OperationRefused, SourceNotFound, SourceRefused

__all__ = ["relay_failure"]


def relay_failure(error: Exception) -> Failure | None:
    """The failure that an error of this domain is; None for any other error."""
    match error:
        case SourceNotFound():
            return Failure(
                grpc.StatusCode.NOT_FOUND,
                ErrorReason.ERROR_REASON_SOURCE_NOT_FOUND,
                str(error),
                {"source": error.source},
            )
        case OperationRefused():
            return Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                ErrorReason.Value(f"ERROR_REASON_{error.problem}"),
                str(error),
                {"source": error.source},
            )
        case SourceRefused():
            return Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_SOURCE_STANDS_STILL,
                str(error),
                {"source": error.source},
            )
        case _:
            return None
