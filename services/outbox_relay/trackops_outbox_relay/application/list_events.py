"""Everything the outboxes hold of one key, and how far each row came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby

from trackops_outbox_relay.application.get_checkpoint import GetCheckpoint
from trackops_outbox_relay.application.ports import EventFinder, LogPlace, Outboxes
from trackops_outbox_relay.domain.checkpoint import OutboxRow
from trackops_outbox_relay.domain.standing import Standing

__all__ = ["EventState", "KeyEvent", "ListEvents"]

_MOST_ROWS = 1_000
_LAST_SEQ = 2**63 - 1
_GRACE = timedelta(minutes=1)
"""Rows are in the order of their commits, which is nearly that of their times."""


class EventState(StrEnum):
    """How far an event came."""

    WAITING = "WAITING"
    PUBLISHED = "PUBLISHED"
    """Or given up by an operator."""
    QUARANTINED = "QUARANTINED"


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """A row of the key."""

    source: str
    row: OutboxRow
    state: EventState
    place: LogPlace | None
    """Where it was found in the log, if it was looked for and found."""


@dataclass(frozen=True, slots=True)
class ListEvents:
    """A key's events by source and `seq`, of each source the first thousand."""

    get_checkpoint: GetCheckpoint
    outboxes: Outboxes
    log: EventFinder

    def __call__(self, key: str, *, since: datetime | None, locate: bool) -> Sequence[KeyEvent]:
        """Rows written from `since` on (None: all that are there).

        Raises:
            TransientError: the broker or the database does not answer.
        """
        found = [
            (source, row, _state(row, standing))
            for source in sorted(self.get_checkpoint.sources)
            # The standing is read first: a row may be further than is said, never less far.
            for standing in (self.get_checkpoint.even_refused(source),)
            for row in self._rows(source, key, since)
        ]
        published = [row for _, row, state in found if state is EventState.PUBLISHED]
        places = self._places(published) if locate else {}
        return [
            KeyEvent(source, row, state, places.get(row.event_id)) for source, row, state in found
        ]

    def _rows(self, source: str, key: str, since: datetime | None) -> Sequence[OutboxRow]:
        outbox = self.outboxes.of(source)
        first = 0 if since is None else outbox.first_seq(since - _GRACE)
        return outbox.of_key(key, first=first, last=_LAST_SEQ, limit=_MOST_ROWS)

    def _places(self, rows: Sequence[OutboxRow]) -> Mapping[str, LogPlace]:
        return dict(self._find(sorted(rows, key=lambda row: (row.topic, row.occurred_at))))

    def _find(self, rows: Sequence[OutboxRow]) -> Iterator[tuple[str, LogPlace]]:
        for topic, group in groupby(rows, key=lambda row: row.topic):
            times = {row.event_id: datetime.fromisoformat(row.occurred_at) for row in group}
            yield from self.log.find(topic, times).items()


def _state(row: OutboxRow, standing: Standing) -> EventState:
    if row.seq > standing.checkpoint.seq:
        return EventState.WAITING
    held = standing.quarantine.get(row.key)
    if held is not None and row.seq >= held.first_seq:
        return EventState.QUARANTINED
    return EventState.PUBLISHED
