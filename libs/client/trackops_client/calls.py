"""What is added to a call before it leaves, the same for `grpc` and `grpc.aio`."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

__all__ = [
    "AsyncTokenProvider",
    "CallDefaults",
    "TokenProvider",
    "TraceparentProvider",
    "fill_request_ids",
]

TokenProvider = Callable[[], str]
"""The access token for the call about to be made. Asked for each call, so it should be cached."""

AsyncTokenProvider = Callable[[], Awaitable[str]]
"""The same for `grpc.aio`."""

TraceparentProvider = Callable[[], str | None]
"""The `traceparent` (W3C Trace Context) of the current span; None where there is none."""

Metadata = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class CallDefaults:
    """What a call gets that does not say otherwise itself."""

    timeout_seconds: float
    traceparent: TraceparentProvider | None

    def timeout(self, own: float | None) -> float:
        """The call's own timeout, in seconds, or the default one."""
        return self.timeout_seconds if own is None else own

    def metadata(self, own: Metadata | None, token: str | None) -> list[tuple[str, str | bytes]]:
        """The call's own metadata, and what it lacks of authorization and trace context."""
        entries = list(own or ())
        present = {key for key, _ in entries}
        if token is not None and "authorization" not in present:
            entries.append(("authorization", f"Bearer {token}"))
        parent = self.traceparent() if self.traceparent else None
        if parent is not None and "traceparent" not in present:
            entries.append(("traceparent", parent))
        return entries


def fill_request_ids(request: Any) -> None:
    """Give a request that has an empty `request_id` a new one (a random UUID, AIP-155).

    So too each of a batch's `requests`. The id is written into the caller's
    message: whoever sends that message again repeats the call, and does not
    make another one.
    """
    has_id, is_batch = _shape(request.DESCRIPTOR)
    if has_id and not request.request_id:
        request.request_id = str(uuid.uuid4())
    if is_batch:
        for one in request.requests:
            fill_request_ids(one)


@cache
def _shape(descriptor: Descriptor) -> tuple[bool, bool]:
    """Whether the type has a `request_id`, and whether it has `requests` that do."""
    request_id = descriptor.fields_by_name.get("request_id")
    requests = descriptor.fields_by_name.get("requests")
    return (
        request_id is not None and request_id.type == FieldDescriptor.TYPE_STRING,
        requests is not None
        and requests.is_repeated
        and requests.message_type is not None
        and _shape(requests.message_type)[0],
    )
