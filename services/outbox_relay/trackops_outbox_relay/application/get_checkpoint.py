"""How far a source is published."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from trackops_outbox_relay.application.ports import Checkpoints
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.domain.errors import SourceNotFound, SourceRefused
from trackops_outbox_relay.domain.standing import Standing

__all__ = ["GetCheckpoint"]


@dataclass(frozen=True, slots=True)
class GetCheckpoint:
    """The last committed checkpoint and quarantine, whichever replica publishes the source."""

    sources: Collection[str]
    progress: Progress
    checkpoints: Checkpoints

    def __call__(self, source: str) -> Standing:
        """May be behind what is committed, never ahead of it.

        Raises:
            SourceNotFound: no source has this name.
            QuarantineLost: records of quarantined keys are missing.
            TransientError: the broker does not answer.
        """
        if source not in self.sources:
            raise SourceNotFound(source)
        here = self.progress.of(source)
        if here is not None and here.standing is not None:
            return here.standing
        return self.checkpoints.last(source) or Standing()

    def even_refused(self, source: str) -> Standing:
        """The same; of a source whose records are incomplete, what is there of them."""
        try:
            return self(source)
        except SourceRefused:
            return self.checkpoints.found(source)
