"""What a consumer of a service is told, and what it tells its client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trackops_common import kafka
from trackops_common.dead_letters import DeadLetterPolicy
from trackops_common.kafka_settings import KafkaAccess

__all__ = ["InboxSettings", "consumer_settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxSettings:
    """What a consumer reads, and how."""

    kafka: KafkaAccess
    consumer: str
    """Its group in Kafka, and the key of its positions."""
    topics: Sequence[str]
    dead_letters: DeadLetterPolicy
    instance_id: str = ""
    """Makes it a static member of its group (`group.instance.id`), unique among the replicas.

    A restart within `session_seconds` then moves no partition at all; in
    return, those of a replica that is gone for good wait for that long, also
    after an orderly stop. Empty: a member for as long as it runs.
    """
    max_batch: int = 500
    """Messages in one transaction, at most."""
    poll_seconds: float = 0.5
    """How long one wait for messages may last, and so how long it takes to stop."""
    session_seconds: float = 6.0
    """After this time without a sign of life the partitions go to another replica."""
    poll_interval_seconds: float = 300.0
    """A handler that takes longer loses its partitions to another replica.

    Pauses do not count: the consumer goes on polling in them.
    """
    first_pause_seconds: float = 0.05
    longest_pause_seconds: float = 5.0
    """Pauses between attempts grow from the first to the longest."""


def consumer_settings(settings: InboxSettings) -> dict[str, Any]:
    """The Kafka client's settings."""
    static = {"group.instance.id": settings.instance_id} if settings.instance_id else {}
    common = kafka.client_settings(settings.kafka, settings.consumer) | static
    return common | {
        "group.id": settings.consumer,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": int(settings.session_seconds * 1000),
        "heartbeat.interval.ms": 1_000,
        "max.poll.interval.ms": int(settings.poll_interval_seconds * 1000),
        # A full local queue stops fetching for the back-off, by default a whole second.
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 16_384,
        "fetch.queue.backoff.ms": 10,
        "fetch.error.backoff.ms": 100,
    }
