"""One service's schema, as that service sees it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import KafkaCluster
from trackops_common.database import Database
from trackops_common.inbox import DeadLetterPolicy, InboxSettings
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.migrations.tables import CONSUMER_OFFSETS_V1, DEAD_LETTERS_V1
from trackops_common.partitions import maintain_outbox, maintain_requests

from .inbox_world import Effects


@pytest.fixture
def schema_url(database: FreshDatabase) -> str:
    return database.url("trackops_order")


@pytest.fixture
def schema(schema_url: str) -> Iterator[Database]:
    """A migrated schema with its partitions, a consumer's tables, and two of the tests' own."""
    with closing(Database(schema_url, application_name="test", pool_size=4)) as made:
        maintain_outbox(made)
        maintain_requests(made)
        made.execute("CREATE TABLE things (id int PRIMARY KEY, name text NOT NULL)")
        made.execute(CONSUMER_OFFSETS_V1)
        made.execute(DEAD_LETTERS_V1)
        made.execute(
            "CREATE TABLE effects (partition int, id text,"
            " place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)"
        )
        yield made


@pytest.fixture
def effects(schema: Database) -> Effects:
    return Effects(schema)


@pytest.fixture
def settings(kafka: KafkaCluster) -> InboxSettings:
    return InboxSettings(
        kafka=KafkaAccess(kafka.bootstrap),
        consumer=f"test-{uuid.uuid4().hex}",
        topics=[kafka.topic()],
        dead_letters=DeadLetterPolicy(topic="dead", retries_topic=kafka.topic(), limit=3, window=8),
        poll_seconds=0.05,
        longest_pause_seconds=0.2,
    )
