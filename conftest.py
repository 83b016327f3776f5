"""Real servers for every test of the repository: on free ports, started when first asked for."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import pytest
import redis

from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import (
    Database,
    DatabaseTemplate,
    KafkaCluster,
    Mesh,
    leaked_secrets,
    temporary_stack,
)


def pytest_configure() -> None:
    """A terminated run tears its fixtures down as an interrupted one does."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def servers() -> Iterator[LocalStack]:
    """The stack whose servers the fixtures below start one by one; its services stay off."""
    with temporary_stack() as stack:
        yield stack


@pytest.fixture(scope="session")
def postgres(servers: LocalStack) -> str:
    """PostgreSQL; the superuser's URL."""
    servers.postgres.start()
    return servers.addresses.admin_url


@pytest.fixture(scope="session")
def redis_server(servers: LocalStack) -> str:
    """Redis; its URL. Tests take `redis_url`, which is flushed for each."""
    servers.redis.start()
    return servers.addresses.redis_url


@pytest.fixture(scope="session")
def kafka_server(servers: LocalStack) -> str:
    """Kafka; its bootstrap address."""
    servers.kafka.start()
    return servers.kafka.bootstrap


@pytest.fixture(scope="session")
def database_template(servers: LocalStack) -> DatabaseTemplate:
    servers.postgres.start()
    return DatabaseTemplate(servers)


@pytest.fixture
def database(database_template: DatabaseTemplate) -> Iterator[Database]:
    """A database of the test's own, with every service's schema."""
    with database_template.database() as made:
        yield made


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture
def kafka(kafka_server: str) -> KafkaCluster:
    return KafkaCluster(kafka_server)


@pytest.fixture(scope="session")
def mesh() -> Iterator[Mesh]:
    """The whole mesh as processes, with servers of its own that know each service by its rights.

    No log of the whole run may hold one of its secrets.
    """
    with temporary_stack(kafka_protocol="SASL_PLAINTEXT") as stack:
        stack.up()
        yield Mesh(stack)
        stack.stop()
        assert leaked_secrets(stack.context.home) == []
