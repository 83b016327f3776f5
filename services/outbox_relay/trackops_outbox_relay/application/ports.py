"""What the relay's use cases need from outside."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from trackops_common.errors import TransientError
from trackops_outbox_relay.domain.checkpoint import Backlog, Checkpoint, OutboxRow

__all__ = [
    "Checkpoints",
    "Fenced",
    "KnownSources",
    "Lease",
    "Outbox",
    "Outboxes",
    "Publisher",
    "Publishers",
    "WakeUp",
]


class Fenced(TransientError):
    """Another publisher of the same source was opened after this one."""

    def __init__(self, source: str) -> None:
        super().__init__(f"another relay publishes from {source}")


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

    def last(self, source: str) -> Checkpoint | None:
        """The source's last committed checkpoint; None where there never was one.

        Sees every checkpoint committed before the call, also while another
        source's transaction is open in the same partition.

        Raises:
            TransientError: the broker does not answer.
        """
        ...


class Publisher(Protocol):
    """The right to publish from one source, until another publisher of it is opened.

    After any error it is of no more use: close it and open another, whose
    opening ends what this one left undone.
    """

    def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Begin a transaction with these rows, in order, and the checkpoint after the last.

        Raises:
            Fenced: another publisher was opened.
            TransientError: the broker does not answer.
        """
        ...

    def begin(self, checkpoint: Checkpoint) -> None:
        """Begin a transaction with a checkpoint only; raises as `publish` does."""
        ...

    def commit(self) -> None:
        """Make what was begun visible, all at once; raises as `publish` does."""
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
        """From now on the source is known; raises as `checkpoint_topic_id` does."""
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
