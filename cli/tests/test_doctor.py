"""What the doctor finds, on real servers where it asks one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from trackops.relay.v1 import relay_service_pb2 as relay
from trackops.saga.v1 import saga_pb2

from trackops_cli.local.mesh import ROLES, SECRETS
from trackops_cli.local.provision import connect
from trackops_cli.local.stack import PartStatus
from trackops_cli.overview.findings import Finding
from trackops_cli.overview.ground import (
    check_kafka,
    check_postgres,
    check_redis,
    check_settings,
    judge_topic,
)
from trackops_cli.overview.survey import Survey
from trackops_cli.overview.work import judge
from trackops_cli.testing import Database, KafkaCluster
from trackops_common.topics import RELAY_CHECKPOINTS

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def ills(found: Iterable[Finding]) -> list[str]:
    return [one.what for one in found if not one.ok]


def test_settings_that_lack_are_named(tmp_path: Path) -> None:
    file = tmp_path / "passwords.json"
    (all_of_them,) = ills(check_settings(file))
    assert "trackops_order" in all_of_them

    names = {*ROLES, *SECRETS.values()}
    file.write_text(json.dumps(dict.fromkeys(names, "x")))
    assert ills(check_settings(file)) == []
    file.write_text(json.dumps(dict.fromkeys(names - {"order_page_tokens"}, "x")))
    assert ills(check_settings(file)) == [f"{file} lacks order_page_tokens"]
    file.write_text("{")
    assert ills(check_settings(file)) == [f"{file} is damaged"]


def test_a_schema_behind_and_a_right_that_lacks_are_found(database: Database) -> None:
    assert ills(check_postgres(database.admin_url)) == []
    with connect(database.admin_url) as admin, admin.cursor() as cursor:
        cursor.execute("UPDATE trackops_order.alembic_version SET version_num = '0001'")
        cursor.execute("DROP TABLE trackops_payment.alembic_version")
        cursor.execute("REVOKE SELECT ON trackops_inventory.outbox FROM trackops_outbox_relay")

    behind, empty, right = ills(check_postgres(database.admin_url))

    assert behind.startswith("trackops_order is at 0001, the newest is ")
    assert empty.startswith("trackops_payment is at no revision, the newest is ")
    assert right == "the relay may not read trackops_inventory.outbox"


def test_servers_that_are_away_are_findings() -> None:
    assert len(ills(check_postgres("postgresql://nobody@127.0.0.1:1/none"))) == 1
    assert len(ills(check_redis("redis://127.0.0.1:1/0"))) == 1


def test_redis_as_it_is_will_do(redis_url: str) -> None:
    assert ills(check_redis(redis_url)) == []


def test_topics_that_lack_are_named(kafka: KafkaCluster) -> None:
    assert f"{RELAY_CHECKPOINTS.name} is missing" in ills(check_kafka(kafka.bootstrap))


@pytest.mark.parametrize(
    ("partitions", "config", "ill"),
    [
        (8, dict(RELAY_CHECKPOINTS.config), ""),
        (8, {**RELAY_CHECKPOINTS.config, "cleanup.policy": "delete"}, "cleanup.policy=delete"),
        (9, dict(RELAY_CHECKPOINTS.config), "9 partitions instead of 8"),
        (0, {}, "is missing"),
    ],
    ids=["as it should be", "not compacted", "too many", "missing"],
)
def test_a_topic_is_judged_by_its_settings(
    partitions: int, config: dict[str, str], ill: str
) -> None:
    found = judge_topic(RELAY_CHECKPOINTS, partitions, config)

    assert found.ok == (not ill)
    assert ill in found.what


def test_what_stands_still_is_found() -> None:
    source = relay.Source(name="trackops_order", rows_behind=3, quarantined_keys=2)
    source.oldest_unpublished_time.FromDatetime(NOW - timedelta(seconds=90))
    away = saga_pb2.Participant(name="payment", error="no answer")
    away.away_since.FromDatetime(NOW)
    survey = Survey(
        time=NOW,
        parts=[
            PartStatus("order", "127.0.0.1:1", None, ready=False),
            PartStatus("payment", "127.0.0.1:2", 12, ready=False),
            PartStatus("redis", "127.0.0.1:3", 13, ready=True),
        ],
        sources=[source, relay.Source(name="trackops_payment", refusal="its checkpoint is lost")],
        sagas={"RUNNING": 4, "NEEDS_OPERATOR": 2},
        participants=[away, saga_pb2.Participant(name="inventory")],
        troubles=(),
        dead_letters=1,
        silent=["Kafka at 127.0.0.1:4: no answer"],
    )

    assert ills(judge(survey)) == [
        "order at 127.0.0.1:1 is down",
        "payment at 127.0.0.1:2 runs, and does not say SERVING",
        "Kafka at 127.0.0.1:4: no answer",
        "trackops_order: 3 rows wait, the oldest for 90 s",
        "trackops_order: 2 keys in quarantine",
        "its checkpoint is lost",
        "2 sagas need an operator",
        "payment is away for the orchestrator: no answer",
        "1 dead letters wait",
    ]
