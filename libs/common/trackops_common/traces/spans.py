"""Spans, as they are recorded; see `trackops_common.traces.export` for where they go.

Whether a trace is recorded is decided where it enters the process, once. What happens in a trace
that is not pays for a look at a context variable.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self

from trackops_common.tracing import leave_trace, take_trace, well_formed

__all__ = [
    "Kind",
    "Span",
    "Tracer",
    "exemplar",
    "installed",
    "installing",
    "is_sampled",
    "joint",
    "joint_of",
    "joint_span",
    "mark",
    "recorded",
    "redis_span",
    "span",
]

Attribute = str | int | float | bool
"""Names are those of OpenTelemetry's semantic conventions, where they have one."""


class Kind(Enum):
    """Who waits for whom, as OpenTelemetry has it."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


@dataclass(slots=True, eq=False)
class Span:
    """Something that is done for a recorded trace; as a context manager, while it is done.

    Inside, it is the current span and its `traceparent` the current one. An error that leaves it
    fails it.
    """

    name: str
    kind: Kind
    parent: str
    """The `traceparent` it belongs under; empty: it begins its trace."""
    trace_id: int
    span_id: int
    take: Callable[[Span], None]
    """Given the span once it has ended."""
    attributes: dict[str, Attribute] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    """By `traceparent`, spans of other traces, or other parents, that it has to do with."""
    begin: int = field(default_factory=time.time_ns)
    """In nanoseconds since 1970."""
    end: int = 0
    failure: str = ""
    """Why it failed; empty where it did not."""
    _before: tuple[Token[Span | None], Token[str]] | None = None

    @property
    def traceparent(self) -> str:
        """What hangs others under it."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"

    def fail(self, error: BaseException) -> None:
        """Let it end now, by this error."""
        self.failure = f"{type(error).__name__}: {error}"
        self.finish()

    def finish(self) -> None:
        """Let it end now."""
        self.end = time.time_ns()
        self.take(self)

    def __enter__(self) -> Self:
        self._before = _recorded.set(self), take_trace(self.traceparent)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and self.kind is not Kind.SERVER:
            self.failure = f"{type(error).__name__}: {error}"
        if self._before is not None:
            _recorded.reset(self._before[0])
            leave_trace(self._before[1])
        self.finish()


_recorded: ContextVar[Span | None] = ContextVar("span", default=None)
_NOT_RECORDED: AbstractContextManager[Span | None] = nullcontext()

Samples = Callable[[str, int, str], bool]
"""Whether to record what enters: its caller's `traceparent`, or none; its trace's id; its name."""


class Tracer:
    """Decides what is recorded, and takes it."""

    def __init__(
        self,
        samples: Samples,
        take: Callable[[Span], None],
        *,
        random_bits: Callable[[int], int] = random.getrandbits,
    ) -> None:
        """`take` is called in any thread, with each span that has ended, and must not wait."""
        self._samples = samples
        self._take = take
        self._random_bits = random_bits

    def enter(self, name: str, kind: Kind, caller: str) -> Span | None:
        """What the process does for a call of `caller` (a `traceparent`, or empty).

        None where it is not recorded: the trace is handed on as such, a new one where there was
        none, for the rest of the asyncio task, so that whoever is called next does not decide anew.
        """
        trace_id = int(caller[3:35], 16) if caller else self._random_bits(128) or 1
        if self._samples(caller, trace_id, name):
            return self.span(name, kind, caller, trace_id)
        take_trace(caller or f"00-{trace_id:032x}-{self._new_id():016x}-00")
        return None

    def span(self, name: str, kind: Kind, parent: str, trace_id: int = 0) -> Span:
        """A recorded span; of the trace of `parent`, where there is one."""
        of = int(parent[3:35], 16) if parent else trace_id
        return Span(name, kind, parent, of, self._new_id(), self._take)

    def _new_id(self) -> int:
        return self._random_bits(64) or 1


_installed: Tracer | None = None


def installed() -> Tracer | None:
    """This process's tracer; None where nothing is recorded."""
    return _installed


@contextmanager
def installing(tracer: Tracer) -> Iterator[None]:
    """Record with `tracer` meanwhile. Set it up before what asks for it is built."""
    global _installed  # noqa: PLW0603 - one for the process, as its log
    before, _installed = _installed, tracer
    try:
        yield
    finally:
        _installed = before


def recorded() -> Span | None:
    """The current span; None where the trace is not recorded."""
    return _recorded.get()


def is_sampled(traceparent: str) -> bool:
    """Whether its trace is recorded, according to its flags; not if it is not well-formed."""
    return traceparent[-1:] in _ODD and bool(well_formed(traceparent))


_ODD = frozenset("13579bdf")


def span(
    name: str, kind: Kind = Kind.INTERNAL, attributes: Mapping[str, Attribute] | None = None
) -> AbstractContextManager[Span | None]:
    """A span under the current one, while it is entered; None where nothing is recorded."""
    parent = _recorded.get()
    if parent is None or _installed is None:
        return _NOT_RECORDED
    child = _installed.span(name, kind, parent.traceparent)
    if attributes:
        child.attributes.update(attributes)
    return child


def redis_span(operation: str, keys: int = 1) -> AbstractContextManager[Span | None]:
    """As `span`, of a command to Redis about so many keys."""
    attributes: Mapping[str, Attribute] = {
        "db.system.name": "redis",
        "db.operation.name": operation,
        "db.operation.batch.size": keys,
    }
    return span(operation, Kind.CLIENT, attributes)


def joint(
    name: str, kind: Kind, callers: Iterable[str], attributes: Mapping[str, Attribute] | None = None
) -> AbstractContextManager[Span | None]:
    """A span of what is done at once for many, each with its `traceparent`.

    It has a link to each that is recorded, and stands under the first of them. None where there
    is none.
    """
    return joint_span(name, kind, callers, attributes) or _NOT_RECORDED


def joint_span(
    name: str, kind: Kind, callers: Iterable[str], attributes: Mapping[str, Attribute] | None = None
) -> Span | None:
    """As `joint`, begun already; it has to be finished, or to fail."""
    if _installed is None:
        return None
    links = list(dict.fromkeys(one for one in callers if is_sampled(one)))
    if not links:
        return None
    work = _installed.span(name, kind, links[0])
    work.links += links
    if attributes:
        work.attributes.update(attributes)
    return work


def joint_of(
    name: str, callers: Sequence[Span], attributes: Mapping[str, Attribute] | None = None
) -> AbstractContextManager[Span | None]:
    """As `joint`, for spans that have not ended; those it does not stand under link to it too."""
    if not callers:
        return _NOT_RECORDED
    work = joint(name, Kind.INTERNAL, [one.traceparent for one in callers], attributes)
    if isinstance(work, Span):
        for one in callers[1:]:
            one.links.append(work.traceparent)
    return work


def mark(name: str, parent: str, attributes: Mapping[str, Attribute] | None = None) -> str:
    """A moment under `parent`, and the `traceparent` of what follows from it.

    It has a link to the current span, in which it happens.
    That is `parent` itself where nothing is recorded.
    """
    if _installed is None or not is_sampled(parent):
        return parent
    moment = _installed.span(name, Kind.INTERNAL, parent)
    if (here := _recorded.get()) is not None:
        moment.links.append(here.traceparent)
    if attributes:
        moment.attributes.update(attributes)
    moment.finish()
    return moment.traceparent


def exemplar() -> dict[str, str] | None:
    """The current span's ids, for a number of Prometheus; None where nothing is recorded."""
    current = _recorded.get()
    if current is None:
        return None
    return {"trace_id": f"{current.trace_id:032x}", "span_id": f"{current.span_id:016x}"}
