"""What the doctor finds, on real servers where it asks one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from trackops.relay.v1 import relay_service_pb2 as relay
from trackops.saga.v1 import saga_pb2
from typer.testing import CliRunner

from trackops_cli.local.mesh import ROLES, SECRETS
from trackops_cli.local.ports import Ports, variable_of
from trackops_cli.local.provision import connect
from trackops_cli.local.stack import PartStatus
from trackops_cli.main import app
from trackops_cli.order.advice import Advice
from trackops_cli.overview.findings import Finding
from trackops_cli.overview.ground import (
    check_kafka,
    check_postgres,
    check_redis,
    check_settings,
    judge_topic,
)
from trackops_cli.overview.screen import screen
from trackops_cli.overview.survey import Survey, Trouble
from trackops_cli.overview.work import judge
from trackops_cli.testing import Database, KafkaCluster
from trackops_common.kafka_settings import KafkaAccess
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
    assert f"{RELAY_CHECKPOINTS.name} is missing" in ills(check_kafka(KafkaAccess(kafka.bootstrap)))


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


@pytest.fixture
def ailing() -> Survey:
    source = relay.Source(name="trackops_order", rows_behind=3, quarantined_keys=2)
    source.oldest_unpublished_time.FromDatetime(NOW - timedelta(seconds=90))
    away = saga_pb2.Participant(name="payment", error="no answer")
    away.away_since.FromDatetime(NOW)
    trouble = Trouble("order-1", [Advice("place-order is PAUSED", "`trackops saga resume s-1`")])
    return Survey(
        time=NOW,
        parts=[
            PartStatus("order", "127.0.0.1:1", None, ready=False),
            PartStatus("payment", "127.0.0.1:2", 12, ready=False),
            PartStatus("redis", "127.0.0.1:3", 13, ready=True),
        ],
        sources=[source, relay.Source(name="trackops_payment", refusal="its checkpoint is lost")],
        sagas={"RUNNING": 4, "NEEDS_OPERATOR": 2},
        participants=[away, saga_pb2.Participant(name="inventory")],
        troubles=[trouble],
        dead_letters=1,
        silent=["Kafka at 127.0.0.1:4: no answer"],
    )


def test_what_stands_still_is_found(ailing: Survey) -> None:
    assert ills(judge(ailing)) == [
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


def test_the_screen_says_what_stands_still_and_what_to_do(ailing: Survey) -> None:
    console = Console(width=200, no_color=True)
    with console.capture() as captured:
        console.print(screen(ailing))

    words = [line.split() for line in captured.get().splitlines()]
    assert ["order", "127.0.0.1:1", "-", "down"] in words
    assert ["payment", "127.0.0.1:2", "12", "NOT", "SERVING"] in words
    assert ["redis", "127.0.0.1:3", "13", "SERVING"] in words
    assert ["trackops_order", "0", "3", "90.0", "s", "2", "keys", "moves"] in words
    assert ["trackops_payment", "0", "0", "-", "-", "stands", "still"] in words
    for line in (
        "sagas: 4 RUNNING, 2 NEEDS_OPERATOR",
        "! its checkpoint is lost",
        "! payment is away: no answer",
        "! order order-1: place-order is PAUSED",
        "→ `trackops saga resume s-1`",
    ):
        assert line.split() in words, line
    assert ailing.document()["troubles"][0]["orderId"] == "order-1"


def test_what_did_not_answer_is_not_called_well() -> None:
    silent = Survey(NOW, (), None, None, None, (), None, ())
    console = Console(width=200)
    with console.capture() as captured:
        console.print(screen(silent))

    assert "sagas: not known" in captured.get()
    assert "dead letters: not known" in captured.get()
    assert list(judge(silent)) == []


def test_a_watch_ends_with_ctrl_c(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("trackops_cli.overview.commands.time.sleep", sleep)
    ports = {variable_of(name): str(port) for name, port in vars(Ports.free()).items()}
    environment = {"TRACKOPS_HOME": str(tmp_path), **ports}
    result = CliRunner().invoke(app, ["status", "--watch", "--every", "5"], env=environment)

    assert result.exit_code == 0, result.output
    assert looks == [5, 5]
    assert result.stdout.count("payment") == 2
