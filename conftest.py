"""Real servers for every test of the repository: on free ports, started when first asked for.

`make test WORKERS=2` runs two of pytest's workers, each with servers of its own.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from types import FrameType
from typing import Any

import pytest
import redis
from xdist.scheduler import LoadScopeScheduling

from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import (
    Database,
    DatabaseTemplate,
    KafkaCluster,
    Mesh,
    leaked_secrets,
    temporary_stack,
)

_MESH_MODULES = (
    "cli/tests/test_credentials.py",
    "cli/tests/test_edge.py",
    "cli/tests/test_mesh.py",
    "cli/tests/test_on_call.py",
    "tests/e2e/test_after_confirmation.py",
    "tests/e2e/test_authorization.py",
    "tests/e2e/test_cancelling.py",
    "tests/e2e/test_client_package.py",
    "tests/e2e/test_cloudevents.py",
    "tests/e2e/test_dead_letters.py",
    "tests/e2e/test_edge.py",
    "tests/e2e/test_ended_sessions.py",
    "tests/e2e/test_metrics.py",
    "tests/e2e/test_servers_describe_themselves.py",
    "tests/e2e/test_way_of_an_order.py",
    "tests/observability/test_named_metrics.py",
)
"""Those that use `mesh`; one worker gets them all, so that it is started once."""
_FOLDERS_WITH_SERVERS = ("edge/tests/", "tests/contract/", "tests/hostile/")
"""Each has servers of its own that all its modules share."""


def pytest_configure() -> None:
    """A terminated run tears its fixtures down as an interrupted one does."""
    signal.signal(signal.SIGTERM, _interrupt)
    # A worker is given the width of a terminal, which a console takes for its own once it is made.
    os.environ.pop("COLUMNS", None)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test marked `alone` has the machine for itself: the other worker waits meanwhile."""
    assert item.config.cache is not None
    folder = item.config.cache.mkdir("turns")
    mode = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
    with (folder / "gate").open("w") as gate, (folder / "room").open("w") as room:
        # Whoever waits for the room holds the gate, so that nobody comes in before him.
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, mode)
        fcntl.flock(gate, fcntl.LOCK_UN)
        return (yield)


class _ByServers(LoadScopeScheduling):  # type: ignore[misc]
    """A worker gets whole modules, and together those that share what takes long to start."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        if module in _MESH_MODULES:
            return "mesh"
        return next((one for one in _FOLDERS_WITH_SERVERS if module.startswith(one)), module)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByServers(config, log)


def pytest_collection_modifyitems(items: Sequence[pytest.Function]) -> None:
    """Raises UsageError for a module that uses `mesh` and is not known to."""
    users = {item.nodeid.partition("::")[0] for item in items if "mesh" in item.fixturenames}
    if unknown := sorted(users.difference(_MESH_MODULES)):
        raise pytest.UsageError(f"_MESH_MODULES in conftest.py lacks {', '.join(unknown)}")


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
