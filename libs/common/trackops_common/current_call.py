"""What a log line says of the call that it was written for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from trackops_common.auth import caller
from trackops_common.tracing import current_traceparent

__all__ = ["add_call_fields", "call_fields", "name_call"]

_NAMED = ("request_id", "order_id", "saga_id", "sku", "source", "step")
"""Fields of requests that a line repeats: names of things, never what is in them."""

_current: ContextVar[tuple[MethodDescriptor, Message] | None] = ContextVar("call", default=None)


def name_call(method: MethodDescriptor, request: Message) -> None:
    """Make this the current call, for the rest of its asyncio task.

    It costs next to nothing: what a line needs is taken from it when one is written.
    """
    _current.set((method, request))


def call_fields() -> Mapping[str, str]:
    """Its RPC, its principal, the names in its request and its trace, as far as there are any."""
    fields = _trace_fields(current_traceparent())
    call = _current.get()
    if call is None:
        return fields
    method, request = call
    fields["rpc"] = method.full_name
    with suppress(LookupError):
        fields["principal"] = caller().principal.name
    for name in _NAMED:
        value = getattr(request, name, "")
        if value and isinstance(value, str):
            fields[name] = value
    return fields


def add_call_fields(_logger: Any, _method: str, event: Any) -> Any:
    """A structlog processor; what the line says by itself counts more."""
    for name, value in call_fields().items():
        event.setdefault(name, value)
    return event


def _trace_fields(traceparent: str) -> dict[str, str]:
    if not traceparent:
        return {}
    _, trace_id, span_id, _ = traceparent.split("-")
    return {"trace_id": trace_id, "span_id": span_id}
