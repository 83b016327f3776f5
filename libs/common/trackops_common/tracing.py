"""The trace that a call belongs to, on its way from the request to the facts it makes true.

`traceparent` (W3C Trace Context, level 1) is taken from the call's metadata,
carried by the command, because a batch holds commands of many calls, and stored
with each event. It is handed on as it came; none is made up where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

__all__ = [
    "current_traceparent",
    "join_trace",
    "leave_trace",
    "take_trace",
    "trace_in",
    "well_formed",
    "within_trace",
]

_VALID = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_current: ContextVar[str] = ContextVar("traceparent", default="")


def current_traceparent() -> str:
    """The `traceparent` of the call that this code runs for; empty where there is none."""
    return _current.get()


def join_trace(metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
    """Make the call's trace the current one, for the rest of its asyncio task.

    A value that is not well-formed counts as absent, as the specification says. A call that has a
    current trace already, that of its own span, keeps it.
    """
    if not _current.get():
        _current.set(trace_in(metadata))


def trace_in(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """The `traceparent` among a call's metadata; empty where there is none."""
    found = ""
    for name, value in metadata or ():
        if name == "traceparent" and isinstance(value, str) and _VALID.fullmatch(value):
            found = value
    return found


def well_formed(traceparent: str) -> str:
    """It, or nothing where it is not what the specification says."""
    return traceparent if _VALID.fullmatch(traceparent) else ""


@contextmanager
def within_trace(traceparent: str) -> Iterator[None]:
    """Make this the current trace meanwhile; one that is not well-formed changes nothing."""
    if not _VALID.fullmatch(traceparent):
        yield
        return
    token = _current.set(traceparent)
    try:
        yield
    finally:
        _current.reset(token)


def take_trace(traceparent: str) -> Token[str]:
    """Make this the current trace, until it is given to `leave_trace`."""
    return _current.set(traceparent)


def leave_trace(token: Token[str]) -> None:
    """Back to the trace of before."""
    _current.reset(token)
