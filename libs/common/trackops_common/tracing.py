"""The trace that a call belongs to, on its way from the request to the facts it makes true.

`traceparent` (W3C Trace Context, level 1) is taken from the call's metadata,
carried by the command, because a batch holds commands of many calls, and stored
with each event. It is handed on as it came; none is made up where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar

__all__ = ["current_traceparent", "join_trace"]

_VALID = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_current: ContextVar[str] = ContextVar("traceparent", default="")


def current_traceparent() -> str:
    """The `traceparent` of the call that this code runs for; empty where there is none."""
    return _current.get()


def join_trace(metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
    """Make the call's trace the current one, for the rest of its asyncio task.

    A value that is not well-formed counts as absent, as the specification says.
    """
    for name, value in metadata or ():
        if name == "traceparent" and isinstance(value, str) and _VALID.fullmatch(value):
            _current.set(value)
