"""What the relay's use cases need from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from trackops_common.errors import TransientError
from trackops_outbox_relay.domain.checkpoint import Backlog, Checkpoint, OutboxRow
from trackops_outbox_relay.domain.errors import OperationRefused
from trackops_outbox_relay.domain.operations import Operation, OperationRecord
from trackops_outbox_relay.domain.quarantine import Fault, Quarantined
from trackops_outbox_relay.domain.rebase import LogSpan, RowPlace
from trackops_outbox_relay.domain.standing import Standing, Step

__all__ = [
    "Checkpoints",
    "EventFinder",
    "EventLog",
    "Fenced",
    "KnownSources",
    "Lease",
    "LogPlace",
    "LogSpan",
    "Operations",
    "Outbox",
    "Outboxes",
    "Publisher",
    "Publishers",
    "RowsRefused",
    "WaitingRows",
    "WakeUp",
]


class Fenced(TransientError):
    """Another publisher of the same source was opened after this one."""

    def __init__(self, source: str) -> None:
        super().__init__(f"another relay publishes from {source}")


class RowsRefused(Exception):
    """The broker refuses at least one row of a transaction for good; none of it was done."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"the broker refuses a row: {detail}")
        self.detail = detail


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where an event stands in its topic."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class WaitingRows:
    """What waits of one key."""

    rows: int
    last_seq: int


class Outbox(Protocol):
    """One schema's outbox."""

    def read(self, checkpoint: Checkpoint, *, limit: int) -> Sequence[OutboxRow]:
        """The next rows after the checkpoint, by `seq`, `limit` at most.

        Raises:
            OutboxDiverged: the row at the checkpoint is missing or another one.
            TransientError: the database does not answer.
        """
        ...

    def backlog(self, checkpoint: Checkpoint) -> Backlog:
        """What waits after the checkpoint.

        Raises:
            TransientError: the database does not answer.
        """
        ...

    def of_key(self, key: str, *, first: int, last: int, limit: int) -> Sequence[OutboxRow]:
        """Rows of one key with `first <= seq <= last`, by `seq`; raises as `backlog` does."""
        ...

    def first_seq(self, since: datetime) -> int:
        """Where rows written at that time or later begin, as far as rows are in the order of
        their times; raises as `backlog` does.
        """
        ...

    def waiting(
        self, keys: Sequence[Quarantined], checkpoint: Checkpoint
    ) -> Mapping[str, WaitingRows]:
        """What waits of each key up to the checkpoint; raises as `backlog` does."""
        ...

    def places(self) -> Sequence[RowPlace]:
        """Every row by `seq`, without its payload; raises as `backlog` does."""
        ...


class Outboxes(Protocol):
    """The outboxes of all sources."""

    def of(self, source: str) -> Outbox:
        """The outbox of one source."""
        ...


class Checkpoints(Protocol):
    """Checkpoints as they stand in Kafka."""

    def topic_id(self) -> str:
        """Kafka's id of the checkpoint topic.

        Raises:
            TransientError: the broker does not answer.
        """
        ...

    def last(self, source: str) -> Standing | None:
        """The source's last committed checkpoint and quarantine; None where there never was one.

        Sees everything committed before the call, also while another source's
        transaction is open in the same partition.

        Raises:
            QuarantineLost: records of quarantined keys are missing.
            TransientError: the broker does not answer.
        """
        ...

    def found(self, source: str) -> Standing:
        """What is there of it, whether it is all that should be; raises `TransientError`."""
        ...


class Publisher(Protocol):
    """The right to publish from one source, until another publisher of it is opened.

    After any error it is of no more use: close it and open another, whose
    opening ends what this one left undone.
    """

    def faults(self, rows: Sequence[OutboxRow]) -> Mapping[int, Fault]:
        """The rows, by `seq`, that the broker would refuse by their topic or size.

        A fault is only told of metadata that were asked for in this call; a
        row without one may still be refused, where metadata have changed.

        Raises:
            TransientError: the broker does not answer.
        """
        ...

    def begin(self, step: Step) -> None:
        """Begin a transaction with all that the step changes.

        Raises:
            Fenced: another publisher was opened.
            RowsRefused: the broker will never take one of the rows.
            TransientError: the broker does not answer.
        """
        ...

    def commit(self) -> None:
        """Make what was begun visible, all at once; raises as `begin` does."""
        ...


class Publishers(Protocol):
    """Opens publishers."""

    def open(self, source: str) -> AbstractContextManager[Publisher]:
        """A publisher of the source; its predecessors are fenced, their transactions ended.

        Raises:
            TransientError: the broker does not answer.
        """
        ...


class KnownSources(Protocol):
    """The sources that were ever relayed."""

    def checkpoint_topic_id(self, source: str) -> str | None:
        """The id of the topic in which its first checkpoint was left; None if it is unknown.

        Raises:
            TransientError: the database does not answer.
        """
        ...

    def remember(self, source: str, checkpoint_topic_id: str) -> None:
        """From now on the source is known by this topic; raises as `checkpoint_topic_id` does."""
        ...


class Operations(Protocol):
    """What operators ask for, and what became of it: orders and audit in one."""

    def submit(self, operation: Operation) -> None:
        """Put it on record. One that was submitted before stays as it is, unless it had failed.

        Raises:
            RequestIdReused: the same id was submitted with another content.
            TransientError: the database does not answer.
        """
        ...

    def find(self, operation_id: str) -> OperationRecord:
        """Its record; raises `TransientError`, or `OperationRefused` where it was refused."""
        ...

    def next(self, source: str) -> Operation | None:
        """The oldest that waits for the source's owner; cheap to ask, and may tell it late."""
        ...

    def finish(self, operation_id: str, outcome: str) -> None:
        """It was done; repeating this changes nothing."""
        ...

    def fail(self, operation_id: str, refusal: OperationRefused) -> None:
        """It cannot be done, and nothing was changed."""
        ...

    def history(self, source: str, *, before: int, limit: int) -> Sequence[OperationRecord]:
        """The newest with a number less than `before` (0: the newest of all), newest first."""
        ...


class EventLog(Protocol):
    """The events of a source that consumers can see."""

    def events(self, source: str, topics: Sequence[str], *, since: datetime) -> LogSpan:
        """Every committed event of the source since a time.

        Raises:
            TransientError: the broker does not answer.
        """
        ...


class EventFinder(Protocol):
    """Looks single events up in the log."""

    def find(self, topic: str, times: Mapping[str, datetime]) -> Mapping[str, LogPlace]:
        """Where events, by id, stand that happened at these times; without those that are not
        found near them. Raises `TransientError`.
        """
        ...


class Lease(Protocol):
    """A source that was given to this replica."""

    @property
    def source(self) -> str: ...

    @property
    def ended(self) -> bool:
        """Whether it was taken away, or the relay stops."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for its end, `seconds` at most; whether it ended."""
        ...

    def confirm(self, *, pause_seconds: float) -> bool:
        """Whether the lease still holds, asked of the group after the pause."""
        ...


class WakeUp(Protocol):
    """Tells that a source may have new rows."""

    def wait(self, seconds: float) -> bool:
        """Wait until somebody says so, `seconds` at most; whether somebody did."""
        ...
