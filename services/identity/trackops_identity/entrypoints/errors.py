"""The identity domain's errors on the wire."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_common.grpc.failures import Failure
from trackops_identity.domain.errors import (
    CredentialsInvalid,
    EmailTaken,
    LastAdmin,
    PasswordMustChange,
    PasswordRefused,
    TokenInvalid,
    TooManyAttempts,
    UserNotFound,
)

__all__ = ["identity_failure"]

_PLAIN: Mapping[type[Exception], tuple[grpc.StatusCode, ErrorReason.ValueType]] = {
    CredentialsInvalid: (
        grpc.StatusCode.UNAUTHENTICATED,
        ErrorReason.ERROR_REASON_CREDENTIALS_INVALID,
    ),
    TokenInvalid: (grpc.StatusCode.UNAUTHENTICATED, ErrorReason.ERROR_REASON_TOKEN_INVALID),
    EmailTaken: (grpc.StatusCode.ALREADY_EXISTS, ErrorReason.ERROR_REASON_EMAIL_TAKEN),
    PasswordMustChange: (
        grpc.StatusCode.FAILED_PRECONDITION,
        ErrorReason.ERROR_REASON_PASSWORD_MUST_CHANGE,
    ),
    LastAdmin: (grpc.StatusCode.FAILED_PRECONDITION, ErrorReason.ERROR_REASON_LAST_ADMIN),
}
"""Those that carry nothing."""


def identity_failure(error: Exception) -> Failure | None:
    """The failure that an error of this domain is; None for any other error."""
    match error:
        case UserNotFound():
            return Failure(
                grpc.StatusCode.NOT_FOUND,
                ErrorReason.ERROR_REASON_USER_NOT_FOUND,
                str(error),
                {"user_id": str(error.user_id)},
            )
        case TooManyAttempts():
            return Failure(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                ErrorReason.ERROR_REASON_TOO_MANY_ATTEMPTS,
                str(error),
                retry_after_seconds=error.retry_after_seconds,
            )
        case PasswordRefused():
            return Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                ErrorReason.ERROR_REASON_INVALID_REQUEST,
                str(error),
                violations=[("password", error.problem)],
            )
    if plain := _PLAIN.get(type(error)):
        return Failure(*plain, str(error))
    return None
