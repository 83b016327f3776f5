"""The rules for every text and those that stand in the protos, applied to a message."""

from __future__ import annotations

import grpc
import protovalidate
from google.protobuf.message import Message
from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_common.grpc.failures import Failure
from trackops_common.grpc.text import normalise_text, printable

__all__ = ["validation_failure"]

_validator = protovalidate.Validator()


def validation_failure(message: Message) -> Failure | None:
    """The failure that names every field which breaks a rule, or None.

    Brings the message's text to NFC first, in place, so that the rules and
    whatever comes after them see the same text however it was composed.
    """
    refused = normalise_text(message)
    violations = _validator.collect_violations(message)
    if not refused and not violations:
        return None
    named = {path for path, _ in refused}
    broken = [(_path(v.proto.field), v.proto.message) for v in violations]
    return Failure(
        grpc.StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_INVALID_REQUEST,
        "the request breaks the rules of the contract",
        violations=[*refused, *((path, rule) for path, rule in broken if path not in named)],
    )


def _path(field: protovalidate.FieldPathPb | None) -> str:
    """`lines[2].sku`, as `BadRequest.FieldViolation.field` wants it."""
    return ".".join(_element(element) for element in (field.elements if field else ()))


def _element(element: protovalidate.FieldPathElementPb) -> str:
    subscript = element.subscript
    if subscript is None:
        return element.field_name
    return f"{element.field_name}[{printable(str(subscript.value))}]"
