"""What is run before services are: migrations and topics, each safe to repeat."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing

import psycopg2
import pytest
from confluent_kafka.admin import AdminClient

from trackops_cli.testing import Database, KafkaCluster
from trackops_common.migrations import newest_revision
from trackops_common.topics import TOPICS

_ROLE = "trackops_inventory"


def _run(module: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "TRACKOPS" not in name}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def empty_schema(database: Database) -> str:
    """The URL of a service whose schema has nothing in it."""
    with (
        closing(psycopg2.connect(database.url(_ROLE))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"DROP OWNED BY {_ROLE}")
        connection.commit()
    admin = database.admin_url.rpartition("/")[0] + f"/{database.name}"
    with closing(psycopg2.connect(admin)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {_ROLE} AUTHORIZATION {_ROLE}")
        connection.commit()
    return database.url(_ROLE)


def test_migrations_fill_an_empty_schema_and_leave_a_full_one_alone(empty_schema: str) -> None:
    newest = newest_revision(_ROLE)
    for _ in range(2):
        done = _run("trackops_common.migrations", _ROLE, TRACKOPS_DATABASE_URL=empty_schema)
        assert (done.returncode, done.stdout) == (0, f"{_ROLE} is at {newest}\n"), done.stderr
    with closing(psycopg2.connect(empty_schema)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT version_num FROM alembic_version")
        assert cursor.fetchone() == (newest,)


def test_migrations_say_in_a_line_that_postgres_is_away() -> None:
    away = "postgresql://trackops_inventory:hidden@127.0.0.1:1/trackops"
    done = _run("trackops_common.migrations", _ROLE, TRACKOPS_DATABASE_URL=away)
    assert done.returncode == 1
    assert done.stderr.startswith(f"migrations: {_ROLE}: ")
    assert "Traceback" not in done.stderr
    assert "hidden" not in done.stderr


def test_topics_are_made_where_they_are_missing(kafka: KafkaCluster) -> None:
    for _ in range(2):
        done = _run("trackops_common.topic_setup", TRACKOPS_KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap)
        assert (done.returncode, done.stdout) == (0, f"{len(TOPICS)} topics are there\n"), (
            done.stderr
        )
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    there = admin.list_topics(timeout=10).topics
    assert {topic.name: topic.partitions for topic in TOPICS} == {
        topic.name: len(there[topic.name].partitions) for topic in TOPICS
    }
    for deleted in admin.delete_topics([topic.name for topic in TOPICS]).values():
        deleted.result(10)  # other tests share the broker, and know it without them
