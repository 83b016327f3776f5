"""What waits in quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trackops_outbox_relay.application.get_checkpoint import GetCheckpoint
from trackops_outbox_relay.application.ports import Outboxes, WaitingRows
from trackops_outbox_relay.domain.quarantine import Quarantined

__all__ = ["ListQuarantine", "WaitingKey"]


@dataclass(frozen=True, slots=True)
class WaitingKey:
    """A key and what waits of it."""

    entry: Quarantined
    waiting: WaitingRows


@dataclass(frozen=True, slots=True)
class ListQuarantine:
    """A source's quarantined keys by `first_seq`."""

    get_checkpoint: GetCheckpoint
    outboxes: Outboxes

    def __call__(self, source: str, *, after_seq: int, limit: int) -> Sequence[WaitingKey]:
        """Keys whose first row comes after `after_seq`, `limit` at most.

        Raises:
            SourceNotFound: no source has this name.
            TransientError: the broker or the database does not answer.
        """
        standing = self.get_checkpoint(source)
        entries = sorted(standing.quarantine.values(), key=lambda one: one.first_seq)
        entries = [one for one in entries if one.first_seq > after_seq][:limit]
        waiting = self.outboxes.of(source).waiting(entries, standing.checkpoint)
        nothing = WaitingRows(0, 0)
        return [WaitingKey(entry, waiting.get(entry.key, nothing)) for entry in entries]
