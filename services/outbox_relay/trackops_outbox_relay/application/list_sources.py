"""Every source, with what waits in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trackops_outbox_relay.application.get_checkpoint import GetCheckpoint
from trackops_outbox_relay.application.ports import Outboxes
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.domain.checkpoint import Backlog, Checkpoint
from trackops_outbox_relay.domain.errors import SourceRefused

__all__ = ["ListSources", "SourceStatus"]


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A source as this replica sees it."""

    name: str
    checkpoint: Checkpoint
    backlog: Backlog
    leased_here: bool
    refusal: SourceRefused | None
    """Why it stands still, where this replica holds its lease and refuses it."""


@dataclass(frozen=True, slots=True)
class ListSources:
    """The sources by name."""

    get_checkpoint: GetCheckpoint
    progress: Progress
    outboxes: Outboxes

    def __call__(self) -> Sequence[SourceStatus]:
        """Raises `TransientError` where the broker or the database does not answer."""
        return [self._status(source) for source in sorted(self.get_checkpoint.sources)]

    def _status(self, source: str) -> SourceStatus:
        here = self.progress.of(source)
        checkpoint = self.get_checkpoint(source)
        return SourceStatus(
            name=source,
            checkpoint=checkpoint,
            backlog=self.outboxes.of(source).backlog(checkpoint),
            leased_here=here is not None,
            refusal=here.refusal if here else None,
        )
