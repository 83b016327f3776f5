"""Every source, with what waits in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trackops_outbox_relay.application.get_checkpoint import GetCheckpoint
from trackops_outbox_relay.application.ports import Outboxes
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.domain.checkpoint import Backlog
from trackops_outbox_relay.domain.errors import SourceRefused
from trackops_outbox_relay.domain.standing import Standing

__all__ = ["ListSources", "SourceStatus"]


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A source as this replica sees it."""

    name: str
    standing: Standing
    backlog: Backlog
    leased_here: bool
    refusal: SourceRefused | None
    """Why it stands still, where this replica holds its lease and refuses it."""
    publish_seconds: float | None
    """What the last transaction took from begin to commit; None where none was made here."""


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
        standing = self.get_checkpoint.even_refused(source)  # its owner says so in `refusal`
        return SourceStatus(
            name=source,
            standing=standing,
            backlog=self.outboxes.of(source).backlog(standing.checkpoint),
            leased_here=here is not None,
            refusal=here.refusal if here else None,
            publish_seconds=here.publish_seconds if here else None,
        )
