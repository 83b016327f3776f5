"""How far a source is published."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from trackops_outbox_relay.application.ports import Checkpoints
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.domain.checkpoint import START, Checkpoint
from trackops_outbox_relay.domain.errors import SourceNotFound

__all__ = ["GetCheckpoint"]


@dataclass(frozen=True, slots=True)
class GetCheckpoint:
    """The last committed checkpoint, whichever replica publishes the source."""

    sources: Collection[str]
    progress: Progress
    checkpoints: Checkpoints

    def __call__(self, source: str) -> Checkpoint:
        """May be behind what is committed, never ahead of it.

        Raises:
            SourceNotFound: no source has this name.
            TransientError: the broker does not answer.
        """
        if source not in self.sources:
            raise SourceNotFound(source)
        here = self.progress.of(source)
        if here is not None and here.checkpoint is not None:
            return here.checkpoint
        return self.checkpoints.last(source) or START
