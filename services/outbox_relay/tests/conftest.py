"""Sources with rows, a relay in this process, and what a reader of the topic sees."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from pydantic import SecretStr

from trackops_cli.testing import Database as MigratedDatabase
from trackops_cli.testing import KafkaCluster, wait_for
from trackops_common import envelope
from trackops_common.database import Database
from trackops_common.outbox import OutboxEvent
from trackops_common.partitions import maintain_outbox
from trackops_outbox_relay.settings import RelaySettings

SOURCES = ("trackops_order", "trackops_inventory", "trackops_payment")


@dataclass(frozen=True)
class Bench:
    """Everything around one relay."""

    settings: RelaySettings
    topic: str
    databases: dict[str, Database]
    """Of each source, as its owner."""
    own: Database
    """As the relay itself."""

    def write(self, source: str, count: int) -> list[str]:
        """Commit that many events; their ids."""
        events = [self._event(number) for number in range(count)]
        with self.databases[source].transaction() as transaction:
            transaction.commit(events)
        return [str(event.event_id) for event in events]

    def published(self, source: str) -> list[str]:
        """Ids of the source's committed events, in their order and as often as they are there."""
        return [
            attributes.id
            for attributes in self.read()
            if attributes.source == f"/trackops/{source}"
        ]

    def read(self) -> list[envelope.Attributes]:
        """Every committed event, in order."""
        return [envelope.parse(headers) for headers in self._records()]

    def has_events(self) -> bool:
        """Whether one is committed."""
        return next(self._records(), None) is not None

    def wait_until_published(self, source: str, ids: Sequence[str]) -> None:
        """Return once that many are there and they are exactly these, in this order."""
        wait_for(lambda: len(self.published(source)) >= len(ids), what=f"events of {source}")
        assert self.published(source) == list(ids)

    def _event(self, number: int) -> OutboxEvent:
        return OutboxEvent(
            event_id=uuid.uuid4(),
            topic=self.topic,
            key=f"key-{number % 7}",
            type="trackops.order.v1.OrderPlaced",
            aggregate_version=number,
            payload=b"payload",
            occurred_at=datetime.now(UTC),
        )

    def _records(self) -> Iterator[list[tuple[str, bytes]]]:
        consumer = Consumer(
            {
                "bootstrap.servers": self.settings.kafka_bootstrap_servers,
                "group.id": "test-reader",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        try:
            consumer.assign([TopicPartition(self.topic, 0, 0)])
            while True:
                message = consumer.poll(10)
                assert message is not None, "the broker does not answer"
                error = message.error()
                if error is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    return
                yield message.headers()  # type: ignore[misc]
        finally:
            consumer.close()


BenchMaker = Callable[..., Bench]


@pytest.fixture
def make_bench(database: MigratedDatabase, kafka: KafkaCluster) -> Iterator[BenchMaker]:
    opened: list[Database] = []

    def database_of(role: str) -> Database:
        opened.append(Database(database.url(role), application_name="test"))
        return opened[-1]

    def make(*, checkpoint_partitions: int = 8) -> Bench:
        databases = {source: database_of(source) for source in SOURCES}
        for source in databases.values():
            maintain_outbox(source)
        settings = RelaySettings(
            listen="127.0.0.1:0",
            database_url=SecretStr(database.url("trackops_outbox_relay")),
            kafka_bootstrap_servers=kafka.bootstrap,
            checkpoint_topic=kafka.topic(checkpoint_partitions, cleanup_policy="compact"),
            relay_group=f"test-{uuid.uuid4().hex}",
            relay_batch_rows=50,
            sources=SOURCES,
        )
        return Bench(settings, kafka.topic(), databases, database_of("trackops_outbox_relay"))

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def bench(make_bench: BenchMaker) -> Bench:
    return make_bench()
