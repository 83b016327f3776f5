"""The saga domain's errors on the wire."""

from __future__ import annotations

import grpc
from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_common.grpc.failures import Failure
from trackops_saga_orchestrator.domain.errors import (
    ForbiddenOperation,
    InvalidPageToken,
    InvalidTrigger,
    NotATrigger,
    SagaNotFound,
    StepNotFound,
)

__all__ = ["saga_failure"]


def saga_failure(error: Exception) -> Failure | None:
    """The failure that an error of this domain is; None for any other error."""
    match error:
        case SagaNotFound():
            return Failure(
                grpc.StatusCode.NOT_FOUND,
                ErrorReason.ERROR_REASON_SAGA_NOT_FOUND,
                str(error),
                {"saga_id": str(error.saga_id)},
            )
        case StepNotFound():
            return Failure(
                grpc.StatusCode.NOT_FOUND,
                ErrorReason.ERROR_REASON_SAGA_STEP_NOT_FOUND,
                str(error),
                {"saga_id": str(error.saga_id), "step": error.step},
            )
        case ForbiddenOperation():
            return Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_SAGA_OPERATION_FORBIDDEN,
                str(error),
                {
                    "saga_id": str(error.saga_id),
                    "operation": error.operation,
                    "state": error.state,
                },
            )
        case NotATrigger():
            return Failure(
                grpc.StatusCode.NOT_FOUND,
                ErrorReason.ERROR_REASON_SAGA_TRIGGER_UNKNOWN,
                str(error),
                {"definition": error.definition, "trigger": error.event},
            )
        case InvalidPageToken():
            return Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                ErrorReason.ERROR_REASON_INVALID_REQUEST,
                str(error),
                violations=[("page_token", str(error))],
            )
        case InvalidTrigger():
            return Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                ErrorReason.ERROR_REASON_INVALID_REQUEST,
                str(error),
                violations=[(f"trigger.{path}".rstrip("."), why) for path, why in error.violations],
            )
        case _:
            return None
