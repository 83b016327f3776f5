"""The real servers, one at a time."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest
import redis
from confluent_kafka.admin import AdminClient
from psycopg2 import errors

from trackops_cli.local.errors import PasswordLost, PortTaken
from trackops_cli.local.ports import HOST
from trackops_cli.local.provision import connect, ensure_database, ensure_roles, ensure_schemas
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import KafkaCluster, temporary_stack, wait_for

_ROLES = {"shop_clerk": "first-secret", "shop_cashier": "second-secret"}


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with temporary_stack() as made:
        yield made


@pytest.fixture
def shop(postgres: str) -> Iterator[str]:
    """A provisioned, unmigrated database; the URL of the server it is in, without credentials."""
    for _ in range(2):  # provisioning is harmless to repeat
        with connect(postgres) as admin:
            ensure_roles(admin, _ROLES)
            ensure_database(admin, "shop", _ROLES)
        with connect(_in_shop(postgres)) as admin:
            ensure_schemas(admin, _ROLES)
    yield f"{HOST}:{urlsplit(postgres).port}/shop"
    with connect(postgres) as admin, admin.cursor() as cursor:
        cursor.execute("DROP DATABASE shop WITH (FORCE)")


def _in_shop(url: str) -> str:
    return url.rpartition("/")[0] + "/shop"


def _as(role: str, shop: str) -> str:
    return f"postgresql://{role}:{_ROLES[role]}@{shop}"


def test_a_role_works_in_its_own_schema_and_cannot_read_anothers(shop: str) -> None:
    with connect(_as("shop_clerk", shop)) as order, order.cursor() as cursor:
        cursor.execute("CREATE TABLE orders AS SELECT 1 AS id")
        cursor.execute("SELECT id FROM shop_clerk.orders")
        assert cursor.fetchall() == [(1,)]

    with connect(_as("shop_cashier", shop)) as payment, payment.cursor() as cursor:
        with pytest.raises(errors.InsufficientPrivilege):
            cursor.execute("SELECT id FROM shop_clerk.orders")
        with pytest.raises(errors.InsufficientPrivilege):
            cursor.execute("CREATE TABLE shop_clerk.intruder ()")
        with pytest.raises(errors.InsufficientPrivilege):
            cursor.execute("CREATE TABLE public.intruder ()")


def test_a_role_without_a_grant_cannot_enter_the_database(postgres: str, shop: str) -> None:
    with connect(postgres) as admin:
        ensure_roles(admin, {"stranger": "third-secret"})

    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        psycopg2.connect(f"postgresql://stranger:third-secret@{shop}")


def test_a_wrong_password_is_refused(shop: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(f"postgresql://shop_clerk:wrong@{shop}")


def test_postgres_is_durable(postgres: str) -> None:
    with connect(postgres) as admin, admin.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('fsync'), current_setting('synchronous_commit'),"
            " current_setting('server_version_num')::int / 10000"
        )
        assert cursor.fetchone() == ("on", "on", 18)


def test_servers_listen_on_loopback_only(
    postgres: str, redis_server: str, kafka_server: str, servers: LocalStack
) -> None:
    listening = [
        connection.laddr.ip
        for part in (servers.postgres, servers.redis, servers.kafka)
        for connection in psutil.Process(part.process.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert len(listening) >= 4  # Kafka's broker and controller have one each
    assert {address.removeprefix("::ffff:") for address in listening} == {HOST}


def test_kafka_makes_topics_when_told_and_only_then(kafka: KafkaCluster) -> None:
    name = kafka.topic(partitions=3, cleanup_policy="compact")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.list_topics("never-made", timeout=10)

    topics = admin.list_topics(timeout=10).topics

    assert len(topics[name].partitions) == 3
    assert "never-made" not in topics


def test_redis_is_flushed_for_each_test(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("key", "value")


def test_redis_is_flushed_for_the_next_test_too(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


def test_starting_twice_changes_nothing(stack: LocalStack) -> None:
    stack.redis.start()
    pid = stack.redis.process.pid

    stack.redis.start()

    assert stack.redis.process.pid == pid


def test_a_dead_server_is_started_again(stack: LocalStack) -> None:
    stack.redis.start()
    pid = stack.redis.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: stack.redis.process.pid is None, what="Redis is dead")

    stack.redis.start()

    assert stack.redis.process.pid not in (None, pid)


def test_postgres_keeps_its_data_through_a_kill(stack: LocalStack) -> None:
    stack.postgres.start()
    with connect(stack.addresses.admin_url) as admin, admin.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 1 AS id")
    stack.postgres.process.kill()

    stack.postgres.start()

    with connect(stack.addresses.admin_url) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT id FROM kept")
        assert cursor.fetchall() == [(1,)]


def test_postgres_ended_at_once_gives_its_shared_memory_back(stack: LocalStack) -> None:
    stack.postgres.start()
    lock = stack.context.home.data_of("postgres") / "data" / "postmaster.pid"
    segment = lock.read_text().splitlines()[6].split()[1]
    assert segment in _shared_memory()

    stack.postgres.stop(grace_seconds=0)

    assert segment not in _shared_memory()


def _shared_memory() -> set[str]:
    """The System V segments that there are, by id."""
    rows = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {row.split()[1] for row in rows}


def test_a_lost_password_is_named_instead_of_waited_for(stack: LocalStack) -> None:
    stack.postgres.start()
    stack.context.home.secrets_file.unlink()
    stack.passwords(["postgres"])

    with pytest.raises(PasswordLost, match="trackops reset"):
        stack.postgres.start()


def test_a_taken_port_is_refused_before_anything_starts(stack: LocalStack) -> None:
    port = stack.context.ports.kafka
    with (
        socket.create_server((HOST, port)),
        pytest.raises(PortTaken, match=f"port {port}, wanted by kafka,.*TRACKOPS_PORT_KAFKA"),
    ):
        stack.up()

    assert [part.name for part in stack.status() if part.pid is not None] == []
