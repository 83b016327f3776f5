"""What a participant's answer means to a saga."""

from __future__ import annotations

import unicodedata

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from trackops_common.grpc.text import printable
from trackops_saga_orchestrator.domain.progress import Refused, Unknown

__all__ = ["is_about_an_item", "outcome_of", "status_of"]

_REFUSALS = {
    code_pb2.INVALID_ARGUMENT,
    code_pb2.NOT_FOUND,
    code_pb2.ALREADY_EXISTS,
    code_pb2.FAILED_PRECONDITION,
    code_pb2.OUT_OF_RANGE,
}
"""The same request would get the same answer again."""

_NOBODY_ANSWERED = {
    code_pb2.UNAVAILABLE,
    code_pb2.DEADLINE_EXCEEDED,
    code_pb2.UNAUTHENTICATED,
    code_pb2.PERMISSION_DENIED,
}
"""The participant, or what it needs, is not there; or it does not let us in, which says nothing of
the command: our token is stale while the identity service is away, or our client lacks a role."""

_MAYBE_ABOUT_AN_ITEM = _REFUSALS | {code_pb2.INTERNAL, code_pb2.UNKNOWN}

_OVERLOADED = "OVERLOADED"
_NO_REASON = "INTERNAL"
_REASON_LENGTH = 64
_MESSAGE_LENGTH = 1000
"""What `order.close` takes."""


def outcome_of(status: status_pb2.Status) -> Refused | Unknown:
    """The outcome of a command that was answered with an error."""
    message = _text(status.message, _MESSAGE_LENGTH)
    if status.code in _REFUSALS:
        return Refused(_reason(status) or _NO_REASON, message)
    away = status.code in _NOBODY_ANSWERED
    return Unknown(f"{code_pb2.Code.Name(status.code)}: {message}", away)


def is_about_an_item(status: status_pb2.Status) -> bool:
    """Whether the failure of a whole batch may come from one item of it.

    A batch that is too large for the participant is such a case too: gRPC
    answers RESOURCE_EXHAUSTED then, without the reason of back-pressure.
    """
    if status.code == code_pb2.RESOURCE_EXHAUSTED:
        return _reason(status) != _OVERLOADED
    return status.code in _MAYBE_ABOUT_AN_ITEM


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The status of a call that failed, with its details where it has them."""
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        status = None
    number: int = error.code().value[0]
    return status or status_pb2.Status(code=number, message=error.details() or "")


def _reason(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return _text(info.reason, _REASON_LENGTH)
    return ""


def _text(value: str, length: int) -> str:
    """As `order.close` takes it: whatever a participant said, the order can be closed."""
    return unicodedata.normalize("NFC", printable(value))[:length]
