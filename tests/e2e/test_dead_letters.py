"""The way of a dead letter through the mesh: consumer, outbox, relay, operator, consumer."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from trackops_cli.local.kafka_rights import OPERATOR
from trackops_cli.main import app
from trackops_cli.testing import Mesh, wait_for
from trackops_common.topics import SAGA_RETRIES


def _listed(*arguments: str) -> list[dict[str, Any]]:
    shown = CliRunner().invoke(app, ["deadletters", "list", "--json", *arguments])
    assert shown.exit_code == 0, shown.stderr
    return [json.loads(line) for line in shown.stdout.splitlines()]


def test_what_the_orchestrator_cannot_read_is_listed_and_replayed(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting, value in mesh.addresses.settings_as(OPERATOR).items():
        monkeypatch.setenv(setting, value)
    producer = Producer(mesh.kafka.connection)
    # Beside the order events, so that nobody else has to read it.
    producer.produce(SAGA_RETRIES.name, b"no event", uuid.uuid4().bytes)
    assert producer.flush(20) == 0
    wait_for(lambda: len(_listed()) == 1, what="the dead letter")
    (first,) = _listed("--topic", SAGA_RETRIES.name)
    assert first["consumer"] == "trackops_saga_orchestrator"

    arguments = ["deadletters", "replay", "--reason", "a test", "--id", first["deadLetterId"]]
    for said in ("1 replayed", "0 replayed, 1 were before"):
        sent = CliRunner().invoke(app, arguments)
        assert (sent.exit_code, sent.stderr) == (0, f"trackops: {said}\n")
    wait_for(lambda: len(_listed("--replayed")) == 2, what="the second one, it is no better now")
    (again,) = _listed()
    assert again["replayOf"] == first["deadLetterId"]
    assert (again["key"], again["value"]) == (first["key"], first["value"])
