"""A source's writer and reader around relays under test."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from trackops_common import envelope
from trackops_common.database import Database
from trackops_common.outbox import OutboxEvent
from trackops_common.testing_tokens import identity_for_tests
from trackops_outbox_relay.settings import RelaySettings

__all__ = ["RelayBench"]


@dataclass(frozen=True)
class RelayBench:
    """Everything around one relay."""

    settings: RelaySettings
    topic: str
    databases: Mapping[str, Database]
    """Of each source, as its owner."""
    own: Database
    """As the relay itself."""

    def write(
        self,
        source: str,
        count: int,
        *,
        key: str | None = None,
        topic: str | None = None,
        payload: bytes = b"payload",
    ) -> list[str]:
        """Commit that many events, of seven keys or of one; their ids."""
        events = [
            OutboxEvent(
                event_id=uuid.uuid4(),
                topic=topic or self.topic,
                key=f"key-{number % 7}" if key is None else key,
                type="trackops.order.v1.OrderPlaced",
                aggregate_version=number,
                payload=payload,
                occurred_at=datetime.now(UTC),
            )
            for number in range(count)
        ]
        with self.databases[source].transaction() as transaction:
            transaction.commit(events)
        return [str(event.event_id) for event in events]

    def published(self, source: str, *, topic: str | None = None) -> list[str]:
        """Ids of the source's committed events, in their order and as often as they are there."""
        events = self.read(topic=topic)
        return [event.id for event in events if event.source == f"/trackops/{source}"]

    def read(self, *, topic: str | None = None) -> list[envelope.Attributes]:
        """Every committed event of the topic's first partition, in order."""
        return [envelope.parse(headers) for headers in self._records(topic or self.topic)]

    def has_events(self) -> bool:
        """Whether one is committed."""
        return next(self._records(self.topic), None) is not None

    @contextmanager
    def process(
        self, log: Path, settings: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A relay as a process of its own, with more `settings` by environment variable."""
        environment = {
            **os.environ,
            "TRACKOPS_LISTEN": self.settings.listen,
            "TRACKOPS_DATABASE_URL": self.settings.database_url.get_secret_value(),
            "TRACKOPS_KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_bootstrap_servers,
            "TRACKOPS_CHECKPOINT_TOPIC": self.settings.checkpoint_topic,
            "TRACKOPS_RELAY_GROUP": self.settings.relay_group,
            "TRACKOPS_IDENTITY_TARGET": identity_for_tests().target,
            "TRACKOPS_REVOCATIONS_WAIT_SECONDS": "0",
            **(settings or {}),
        }
        command = [sys.executable, "-m", "trackops_outbox_relay"]
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stderr=output)
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)

    def _records(self, topic: str) -> Iterator[Sequence[tuple[str, bytes]]]:
        consumer = Consumer(
            {
                "bootstrap.servers": self.settings.kafka_bootstrap_servers,
                "group.id": "test-reader",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
            while True:
                message: Any = consumer.poll(10)
                if message is None:
                    raise TimeoutError("the broker does not answer")
                error = message.error()
                if error is not None:
                    if error.code() != KafkaError._PARTITION_EOF:
                        raise RuntimeError(error.str())
                    return
                yield message.headers()
        finally:
            consumer.close()
