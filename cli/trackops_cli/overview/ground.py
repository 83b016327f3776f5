"""Checks of what the services stand on: settings, servers, schemas, topics, rights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    ResourceType,
)
from psycopg2 import extensions

from trackops_cli.local.authority import Authority
from trackops_cli.local.mesh import CERTIFIED_NAMES, ROLES, SECRETS
from trackops_cli.local.provision import connect
from trackops_cli.overview.findings import Finding, fine, wrong
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.migrations import newest_revision
from trackops_common.topics import TOPICS, Topic

__all__ = [
    "check_certificates",
    "check_kafka",
    "check_postgres",
    "check_redis",
    "check_settings",
    "judge_topic",
]

_POSTGRES_MAJOR = 15
_REDIS = (6, 2)
"""The oldest that are supported; the local stack has newer ones."""
_SOON = timedelta(days=14)
_CLOCKS_APART = timedelta(seconds=1)
_SECONDS = 10.0
_RELAY = "trackops_outbox_relay"
_UP = "`trackops up` starts it; its log is in the folder `logs` of TRACKOPS_HOME"


def check_settings(secrets_file: Path) -> Iterator[Finding]:
    """Whether every password and key is there; shows none."""
    wanted = {*ROLES, *SECRETS.values()}
    try:
        known = json.loads(secrets_file.read_text())
    except FileNotFoundError:
        known = {}
    except ValueError:
        todo = "restore that file, or start over with `trackops reset`"
        yield wrong("settings", f"{secrets_file} is damaged", todo)
        return
    missing = sorted(wanted - known.keys())
    if missing:
        what = f"{secrets_file} lacks {', '.join(missing)}"
        yield wrong("settings", what, "`trackops up` makes those of a new stack")
    else:
        yield fine("settings", f"{len(wanted)} passwords and keys in {secrets_file}")


def check_postgres(url: str) -> Iterator[Finding]:
    """Version, clock, migrations, and what the relay may read; `url` is a superuser's."""
    try:
        with connect(url) as admin:
            yield from _postgres_itself(admin)
            for role in ROLES:
                yield _migration(admin, role)
            yield from _relay_rights(admin)
    except psycopg2.Error as error:
        yield wrong("servers", f"Postgres does not answer: {_first_line(error)}", _UP)


def check_redis(url: str) -> Iterator[Finding]:
    """Version and clock."""
    try:
        with redis.Redis.from_url(url, socket_timeout=_SECONDS) as client:
            info: Any = client.info("server")
            seconds, _ = client.time()
    except redis.RedisError as error:
        yield wrong("servers", f"Redis does not answer: {_first_line(error)}", _UP)
        return
    version = str(info["redis_version"])
    numbers = tuple(int(part) for part in version.split(".")[:2])
    yield _version("Redis", version, new_enough=numbers >= _REDIS, least="6.2")
    yield _clock("Redis", datetime.fromtimestamp(seconds, UTC), grace=timedelta(seconds=1))


def check_kafka(access: KafkaAccess) -> Iterator[Finding]:
    """Whether every topic is there as it has to be. Kafka's protocol tells no version."""
    admin = AdminClient({**access.connection, "log_level": 0})
    try:
        found = admin.list_topics(timeout=_SECONDS).topics
        present = [topic.name for topic in TOPICS if topic.name in found]
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in present]
        answers = admin.describe_configs(asked, request_timeout=_SECONDS) if asked else {}
        configs = {one.name: _plain(answer.result()) for one, answer in answers.items()}
    except KafkaException as error:
        yield wrong("servers", f"Kafka does not answer: {error.args[0].str()}", _UP)
        return
    yield fine("servers", f"Kafka answers, {len(found)} topics")
    for topic in TOPICS:
        partitions = len(found[topic.name].partitions) if topic.name in found else 0
        yield judge_topic(topic, partitions, configs.get(topic.name, {}))


def check_certificates(authority: Authority, now: datetime) -> Iterator[Finding]:
    """Those of a mesh with TLS; nothing where it speaks plain text."""
    if not authority.exists:
        return
    ends = {name: authority.ends(name) for name in CERTIFIED_NAMES}
    ending = [name for name, end in ends.items() if end < now + _SOON]
    if ending:
        what = f"the certificates of {', '.join(ending)} have ended or end within {_SOON.days} days"
        yield wrong("settings", what, "`trackops up` renews them; what runs takes them in")
    else:
        yield fine("settings", f"{len(ends)} certificates, the first ends {min(ends.values()):%F}")


def judge_topic(topic: Topic, partitions: int, config: Mapping[str, str]) -> Finding:
    """A topic as it is (0 partitions: it is not there) beside what it has to be."""
    if not partitions:
        return wrong("topics", f"{topic.name} is missing", "`trackops up` creates it")
    if partitions != topic.partitions:
        return wrong(
            "topics",
            f"{topic.name} has {partitions} partitions instead of {topic.partitions}",
            "events of one key may have changed partitions, and checkpoints would not be found:"
            " make the topic anew while nothing runs",
        )
    differs = {
        name: config.get(name, "nothing")
        for name, wanted in topic.config.items()
        if config.get(name) != wanted
    }
    if differs:
        shown = ", ".join(f"{name}={value}" for name, value in differs.items())
        set_ = ",".join(f"{name}={topic.config[name]}" for name in differs)
        todo = f"kafka-configs.sh --alter --topic {topic.name} --add-config {set_}"
        return wrong("topics", f"{topic.name} has {shown}", todo)
    return fine("topics", f"{topic.name}, {partitions} partitions")


def _postgres_itself(admin: extensions.connection) -> Iterator[Finding]:
    (version,) = _row(admin, "SHOW server_version")
    (now,) = _row(admin, "SELECT clock_timestamp()")
    major = int(version.split(".")[0])
    yield _version("Postgres", version, new_enough=major >= _POSTGRES_MAJOR, least="15")
    yield _clock("Postgres", now)


def _migration(admin: extensions.connection, role: str) -> Finding:
    newest = newest_revision(role)
    (table,) = _row(admin, "SELECT to_regclass(%s)::text", f"{role}.alembic_version")
    found = _row(admin, f"SELECT version_num FROM {role}.alembic_version")[0] if table else None  # noqa: S608 - ours
    if found == newest:
        return fine("schemas", f"{role} is at {newest}")
    what = f"{role} is at {found or 'no revision'}, the newest is {newest}"
    return wrong("schemas", what, "`trackops up` migrates; in a cluster the chart's migration job")


def _relay_rights(admin: extensions.connection) -> Iterator[Finding]:
    """Of every schema that has an outbox."""
    for schema in ROLES:
        (table,) = _row(admin, "SELECT to_regclass(%s)::text", f"{schema}.outbox")
        if table is None:
            continue
        (may,) = _row(
            admin,
            "SELECT has_schema_privilege(%s, %s, 'USAGE')"
            "   AND has_table_privilege(%s, %s, 'SELECT')",
            *(_RELAY, schema, _RELAY, f"{schema}.outbox"),
        )
        if may:
            yield fine("rights", f"the relay may read {schema}.outbox")
        else:
            grants = (
                f"GRANT USAGE ON SCHEMA {schema} TO {_RELAY};"
                f" GRANT SELECT ON {schema}.outbox TO {_RELAY};"
            )
            yield wrong("rights", f"the relay may not read {schema}.outbox", grants)


def _version(server: str, version: str, *, new_enough: bool, least: str) -> Finding:
    if new_enough:
        return fine("servers", f"{server} {version}")
    return wrong("servers", f"{server} is {version}", f"use {least} or later, as the tests do")


def _clock(server: str, now: datetime, *, grace: timedelta = timedelta()) -> Finding:
    apart = abs(datetime.now(UTC) - now)
    if apart <= _CLOCKS_APART + grace:
        return fine("servers", f"{server}'s clock and ours agree")
    what = f"{server}'s clock is {apart.total_seconds():.1f} s apart from ours"
    return wrong("servers", what, "let both follow the same time (chrony, NTP)")


def _plain(config: Mapping[str, Any]) -> dict[str, str]:
    return {name: entry.value for name, entry in config.items()}


def _row(admin: extensions.connection, sql: str, *parameters: object) -> Sequence[Any]:
    with admin.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return cursor.fetchone() or (None,)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
