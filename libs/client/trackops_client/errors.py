"""A failed call as one typed error, whichever gRPC API made it.

TrackOpsError      any status but OK; `code` and `reason` say which
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

__all__ = ["FieldViolation", "TrackOpsError", "error_of", "typed_errors"]

_DOMAIN = "trackops"
_STATUS_DETAILS = "grpc-status-details-bin"

M = TypeVar("M", bound=Message)


class FieldViolation(NamedTuple):
    """A field that breaks a rule of the contract."""

    path: str
    """`lines[2].sku`."""
    description: str


class TrackOpsError(Exception):
    """A call that was not answered with OK."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{code.name}{f' ({reason})' if reason else ''}: {message}")
        self.code = code
        self.message = message
        """For people; programs read `code` and `reason`."""
        self.reason = reason
        """An `ErrorReason` without its prefix; empty where no TrackOps server answered."""
        self.metadata = dict(metadata or {})
        """What the reason's comment in `error_reason.proto` says, by name."""
        self.violations = tuple(violations)
        """Every wrong field of an INVALID_REQUEST."""
        self.retry_after_seconds = retry_after_seconds
        """How long to leave a server that is OVERLOADED alone."""


def error_of(error: grpc.RpcError) -> TrackOpsError:
    """What a failed call's status and its details say; for `grpc` and `grpc.aio`."""
    call: Any = error
    status = _status(call.trailing_metadata())
    info = _detail(status, error_details_pb2.ErrorInfo)
    retry = _detail(status, error_details_pb2.RetryInfo)
    wrong = _detail(status, error_details_pb2.BadRequest)
    ours = info is not None and info.domain == _DOMAIN
    return TrackOpsError(
        call.code(),
        call.details() or "",
        reason=info.reason if info and ours else "",
        metadata=info.metadata if info and ours else None,
        violations=[
            FieldViolation(one.field, one.description)
            for one in (wrong.field_violations if wrong else ())
        ],
        retry_after_seconds=retry.retry_delay.ToTimedelta().total_seconds() if retry else None,
    )


@contextmanager
def typed_errors() -> Iterator[None]:
    """Calls that fail inside raise `TrackOpsError` from their `grpc.RpcError`."""
    try:
        yield
    except grpc.RpcError as error:
        raise error_of(error) from error


def _status(metadata: Any) -> status_pb2.Status:
    """Empty where the server sent none, or none that can be read."""
    try:
        return status_pb2.Status.FromString(dict(metadata or ()).get(_STATUS_DETAILS, b""))
    except DecodeError:
        return status_pb2.Status()


def _detail(status: status_pb2.Status, kind: type[M]) -> M | None:
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            return message
    return None
