"""The rules that stand in the protos, applied to a message."""

from __future__ import annotations

import grpc
import protovalidate
from google.protobuf.message import Message
from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_common.grpc.failures import Failure

__all__ = ["validation_failure"]

_validator = protovalidate.Validator()


def validation_failure(message: Message) -> Failure | None:
    """The failure that names every field which breaks a rule, or None."""
    violations = _validator.collect_violations(message)
    if not violations:
        return None
    return Failure(
        grpc.StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_INVALID_REQUEST,
        "the request breaks the rules of the contract",
        violations=[(_path(v.proto.field), v.proto.message) for v in violations],
    )


def _path(field: protovalidate.FieldPathPb | None) -> str:
    """`lines[2].sku`, as `BadRequest.FieldViolation.field` wants it."""
    return ".".join(_element(element) for element in (field.elements if field else ()))


def _element(element: protovalidate.FieldPathElementPb) -> str:
    subscript = element.subscript
    return element.field_name if subscript is None else f"{element.field_name}[{subscript.value}]"
