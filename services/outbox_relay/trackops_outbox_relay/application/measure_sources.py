"""What the sources that are leased here have waiting, in numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from trackops_common.clock import Clock
from trackops_outbox_relay.application.ports import Outboxes
from trackops_outbox_relay.application.progress import Progress

__all__ = ["MeasureSources", "SourceNumbers"]


@dataclass(frozen=True, slots=True)
class SourceNumbers:
    """One source."""

    source: str
    rows_behind: int
    oldest_seconds: float
    """Since the oldest of these rows was written; 0 where there is none."""
    quarantined_keys: int
    refused: bool
    """Whether it stands still until an operator has decided."""


@dataclass(frozen=True, slots=True)
class MeasureSources:
    """Those of other replicas are theirs to tell, so that sums are right."""

    sources: Collection[str]
    progress: Progress
    outboxes: Outboxes
    clock: Clock

    def __call__(self) -> Sequence[SourceNumbers]:
        """By name. Raises `TransientError` where the database does not answer."""
        measured = (self._measured(source) for source in sorted(self.sources))
        return [numbers for numbers in measured if numbers is not None]

    def _measured(self, source: str) -> SourceNumbers | None:
        here = self.progress.of(source)
        if here is None or here.standing is None:
            return None
        backlog = self.outboxes.of(source).backlog(here.standing.checkpoint)
        age = 0.0
        if backlog.oldest_time is not None:
            age = max(0.0, (self.clock.now() - backlog.oldest_time).total_seconds())
        return SourceNumbers(
            source,
            backlog.rows,
            age,
            len(here.standing.quarantine),
            here.refusal is not None,
        )
