"""Find the place from which a source is published."""

from __future__ import annotations

from dataclasses import dataclass

from trackops_outbox_relay.application.ports import Checkpoints, KnownSources, Publisher
from trackops_outbox_relay.domain.errors import CheckpointLost, TopicReplaced
from trackops_outbox_relay.domain.standing import Standing, Step

__all__ = ["StartSource"]


@dataclass(frozen=True, slots=True)
class StartSource:
    """Where publishing starts; an unknown source starts at zero, a known one never does."""

    checkpoints: Checkpoints
    known_sources: KnownSources

    def __call__(self, source: str, publisher: Publisher) -> Standing:
        """The checkpoint to go on from and what waits; to be asked once the publisher is open.

        Raises:
            CheckpointLost, QuarantineLost, TopicReplaced: a known source without its records.
            TransientError: the broker or the database does not answer.
        """
        topic_id = self.checkpoints.topic_id()
        known_id = self.known_sources.checkpoint_topic_id(source)
        if known_id is not None and known_id != topic_id:
            raise TopicReplaced(source, expected_id=known_id, found_id=topic_id)
        standing = self.checkpoints.last(source)
        if standing is None:
            if known_id is not None:
                raise CheckpointLost(source)
            standing = Standing()
            publisher.begin(Step(standing))
            publisher.commit()
        if known_id is None:
            # After the first checkpoint: the other way round, a crash between them would leave
            # a known source without a checkpoint, which is refused for ever.
            self.known_sources.remember(source, topic_id)
        return standing
