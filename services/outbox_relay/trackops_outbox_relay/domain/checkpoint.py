"""How far a source is published, and the rows beyond."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

__all__ = ["START", "Backlog", "Checkpoint", "OutboxRow"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The row with this `seq`, and all before it, are in Kafka."""

    seq: int
    event_id: str
    """Id of that row's event, by which a restored database is found out; empty at the start."""


START = Checkpoint(0, "")
"""Nothing was published yet; the first `seq` is 1."""


class OutboxRow(NamedTuple):
    """A row as it stands in an outbox. A tuple, because thousands a second pass through."""

    seq: int
    event_id: str
    topic: str
    key: str
    type: str
    aggregate_version: int
    payload: bytes
    occurred_at: str
    """RFC 3339."""
    traceparent: str

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint once this row is published."""
        return Checkpoint(self.seq, self.event_id)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in a source."""

    rows: int
    oldest_time: datetime | None
    """When the oldest of them was written; None where nothing waits."""
