"""How an error looks on the wire: `google.rpc.Status` with one `ErrorInfo`.

`BadRequest` names wrong fields and `RetryInfo` goes with back-pressure (AIP-193).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_common import errors

__all__ = ["DomainFailure", "Failure", "describe", "failure_of", "status_details"]

_log = structlog.get_logger(__name__)

_PREFIX = "ERROR_REASON_"
_STATUS_DETAILS = "grpc-status-details-bin"
_TELLING = (errors.DependencyUnavailable, errors.ServerStopping)
"""The transient errors whose text is for callers."""

_PLAIN: Mapping[type[Exception], tuple[grpc.StatusCode, ErrorReason.ValueType]] = {
    errors.MalformedRequest: (
        grpc.StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_MALFORMED_REQUEST,
    ),
    errors.PageTokenInvalid: (
        grpc.StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_PAGE_TOKEN_INVALID,
    ),
    errors.DeadlineExceeded: (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED,
    ),
    errors.TokenMissing: (
        grpc.StatusCode.UNAUTHENTICATED,
        ErrorReason.ERROR_REASON_TOKEN_MISSING,
    ),
    errors.TokenInvalid: (
        grpc.StatusCode.UNAUTHENTICATED,
        ErrorReason.ERROR_REASON_TOKEN_INVALID,
    ),
    errors.TokenExpired: (
        grpc.StatusCode.UNAUTHENTICATED,
        ErrorReason.ERROR_REASON_TOKEN_EXPIRED,
    ),
}
"""Those that carry nothing."""

_TEXT_LENGTH = 250
_VIOLATION_BYTES = 3_000
"""An error travels as metadata, percent-encoded and in base64, of which a client takes 8 KiB by
default: a larger one would arrive as RESOURCE_EXHAUSTED, without its reason."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as the caller sees it."""

    code: grpc.StatusCode
    reason: ErrorReason.ValueType
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Sequence[tuple[str, str]] = ()
    """Path and description of every wrong field."""
    retry_after_seconds: float | None = None

    def to_status(self) -> status_pb2.Status:
        """The failure as `google.rpc.Status`, small enough to travel as metadata.

        Long texts end in an ellipsis, and the last violation that fits counts those that do not.
        """
        status = status_pb2.Status(code=self.code.value[0], message=_clipped(self.message))
        reason = ErrorReason.Name(self.reason).removeprefix(_PREFIX)
        metadata = {name: _clipped(value) for name, value in self.metadata.items()}
        info = error_details_pb2.ErrorInfo(reason=reason, domain="trackops", metadata=metadata)
        status.details.add().Pack(info)
        if self.violations:
            status.details.add().Pack(_bad_request(self.violations))
        if self.retry_after_seconds is not None:
            status.details.add().Pack(_retry_info(self.retry_after_seconds))
        return status


DomainFailure = Callable[[Exception], Failure | None]
"""A service's own mapping: its domain's errors to failures, None for any other error."""


def failure_of(error: Exception) -> Failure:
    """The failure of an error that any service may have; INTERNAL, and logged, for the rest."""
    if plain := _PLAIN.get(type(error)):
        return Failure(*plain, str(error))
    match error:
        case errors.RequestIdReused():
            return Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                ErrorReason.ERROR_REASON_REQUEST_ID_REUSED,
                str(error),
                {"request_id": error.request_id},
            )
        case errors.RequestIdExpired():
            return Failure(
                grpc.StatusCode.ALREADY_EXISTS,
                ErrorReason.ERROR_REASON_REQUEST_ID_EXPIRED,
                str(error),
                {"request_id": error.request_id},
            )
        case errors.Overloaded():
            return Failure(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                ErrorReason.ERROR_REASON_OVERLOADED,
                str(error),
                retry_after_seconds=error.retry_after_seconds,
            )
        case errors.PermissionDenied():
            return Failure(
                grpc.StatusCode.PERMISSION_DENIED,
                ErrorReason.ERROR_REASON_PERMISSION_DENIED,
                str(error),
                {"permission": error.permission},
            )
        case errors.TransientError():
            return Failure(
                grpc.StatusCode.UNAVAILABLE,
                ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE,
                str(error) if isinstance(error, _TELLING) else "try again",
            )
        case _:
            _log.error("call failed", exc_info=error)
            return Failure(
                grpc.StatusCode.INTERNAL,
                ErrorReason.ERROR_REASON_INTERNAL,
                "internal error; the server's log has it",
            )


def describe(error: Exception, domain_failure: DomainFailure) -> Failure:
    """The failure of any error, the domain's mapping first."""
    return domain_failure(error) or failure_of(error)


def status_details(status: status_pb2.Status) -> tuple[str, bytes]:
    """The trailing metadata entry in which a status travels."""
    return (_STATUS_DETAILS, status.SerializeToString())


def _bad_request(violations: Sequence[tuple[str, str]]) -> error_details_pb2.BadRequest:
    told = error_details_pb2.BadRequest()
    for number, (path, description) in enumerate(violations, 1):
        one = told.field_violations.add(field=_clipped(path), description=_clipped(description))
        rest = len(violations) - number
        if rest and told.ByteSize() > _VIOLATION_BYTES:
            one.description += f"; and {rest} more violations"
            break
    return told


def _clipped(text: str) -> str:
    return text if len(text) <= _TEXT_LENGTH else f"{text[: _TEXT_LENGTH - 1]}…"


def _retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)
