"""The Kafka topics of the mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "IDENTITY_EVENTS",
    "IDENTITY_LETTERS",
    "INVENTORY_EVENTS",
    "ORDER_EVENTS",
    "PAYMENT_EVENTS",
    "RELAY_CHECKPOINTS",
    "SAGA_DEAD_LETTERS",
    "SAGA_RETRIES",
    "TOPICS",
    "Topic",
]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is created; an existing one is left as it is."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


_WEEK = {"retention.ms": str(7 * 24 * 3600 * 1000)}
_FOR_OPERATORS = {
    "retention.ms": str(90 * 24 * 3600 * 1000),
    "max.message.bytes": str(2 * 1024 * 1024),
}
"""Time for a fix, and room for the largest message with what is said about it."""

ORDER_EVENTS = Topic("trackops.order.events.v1", partitions=6, config=_WEEK)
INVENTORY_EVENTS = Topic("trackops.inventory.events.v1", partitions=6, config=_WEEK)
PAYMENT_EVENTS = Topic("trackops.payment.events.v1", partitions=6, config=_WEEK)
IDENTITY_EVENTS = Topic("trackops.identity.events.v1", partitions=6, config=_WEEK)
IDENTITY_LETTERS = Topic(
    "trackops.identity.letters.v1",
    partitions=1,
    config={"retention.ms": str(24 * 3600 * 1000)},
)
"""Holds one-time tokens; for the mailer's eyes only."""
RELAY_CHECKPOINTS = Topic(
    "trackops.relay.checkpoints.v1",
    partitions=8,
    config={"cleanup.policy": "compact", "segment.ms": str(3600 * 1000)},
)
"""A source's checkpoints stand in one partition, whose assignment is the source's lease."""
SAGA_DEAD_LETTERS = Topic("trackops.saga.deadletters.v1", partitions=6, config=_FOR_OPERATORS)
"""What the orchestrator's consumers could not act on (`trackops.common.v1.DeadLetter`)."""
SAGA_RETRIES = Topic("trackops.saga.retries.v1", partitions=6, config=_FOR_OPERATORS)
"""Dead letters on their way back to the consumer that gave them up, and to no other."""

TOPICS = (
    ORDER_EVENTS,
    INVENTORY_EVENTS,
    PAYMENT_EVENTS,
    IDENTITY_EVENTS,
    IDENTITY_LETTERS,
    RELAY_CHECKPOINTS,
    SAGA_DEAD_LETTERS,
    SAGA_RETRIES,
)
