"""One relay's surroundings: a database, a broker, topics of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from trackops_cli.testing import Database as MigratedDatabase
from trackops_cli.testing import KafkaCluster
from trackops_common.database import Database
from trackops_common.partitions import maintain_outbox
from trackops_outbox_relay.settings import RelaySettings
from trackops_outbox_relay.testing import RelayBench

SOURCES = ("trackops_order", "trackops_inventory", "trackops_payment")

BenchMaker = Callable[..., RelayBench]


@pytest.fixture
def make_bench(database: MigratedDatabase, kafka: KafkaCluster) -> Iterator[BenchMaker]:
    opened: list[Database] = []

    def database_of(role: str) -> Database:
        opened.append(Database(database.url(role), application_name="test"))
        return opened[-1]

    def make(*, checkpoint_partitions: int = 8) -> RelayBench:
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
            unknown_topic_seconds=0.5,
            sources=SOURCES,
        )
        return RelayBench(settings, kafka.topic(), databases, database_of("trackops_outbox_relay"))

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def bench(make_bench: BenchMaker) -> RelayBench:
    return make_bench()
