"""What docs/debezium.md promises of the outbox, held against every migrated schema."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from trackops_cli.testing import Database as FreshDatabase
from trackops_common.database import Database
from trackops_common.envelope import parse

_DOCUMENT = Path(__file__).parents[3] / "docs" / "debezium.md"
_ROUTER = "transforms.outbox."
_TYPES = {
    "event_id": "uuid",
    "topic": "text",
    "key": "text",
    "type": "text",
    "payload": "bytea",
    "seq": "bigint",
    "aggregate_version": "bigint",
    "occurred_at": "timestamp with time zone",
    "traceparent": "text",
}
_WITH_OUTBOX = (
    "trackops_order",
    "trackops_inventory",
    "trackops_payment",
    "trackops_saga_orchestrator",
)


def _settings() -> dict[str, str]:
    (block,) = re.findall(r"```properties\n(.*?)```", _DOCUMENT.read_text(), re.DOTALL)
    pairs = (line.partition("=") for line in block.splitlines() if line)
    return {name: value for name, _, value in pairs}


def _placements() -> dict[str, str]:
    """The column behind each header."""
    value = _settings()[f"{_ROUTER}table.fields.additional.placement"]
    trios = (one.split(":") for one in value.split(","))
    return {header: column for column, place, header in trios if place == "header"}


@pytest.mark.parametrize("role", _WITH_OUTBOX)
def test_every_column_that_the_router_is_told_exists_and_has_its_type(
    database: FreshDatabase, role: str
) -> None:
    settings = _settings()
    names = ["table.field.event.id", "table.field.event.key", "table.field.event.payload"]
    told = {settings[_ROUTER + name] for name in (*names, "route.by.field")}
    with closing(Database(database.url(role), application_name="test")) as opened:
        rows = opened.fetch(
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND table_name = 'outbox'"
        )
    columns = {name: (kind, nullable) for name, kind, nullable in rows}
    assert columns == {name: (kind, "NO") for name, kind in _TYPES.items()}
    assert told | set(_placements().values()) <= columns.keys()


def test_the_headers_that_the_connector_makes_are_an_envelope() -> None:
    settings = _settings()
    row = {
        "event_id": "0b7e",
        "type": "trackops.order.v1.OrderPlaced",
        "key": "order-1",
        "occurred_at": "2026-11-23T10:00:00.000001Z",
        "seq": "7",
        "aggregate_version": "2",
        "traceparent": "",
    }
    headers = [(header, row[column].encode()) for header, column in _placements().items()]
    inserted = [name for name in settings if name.endswith(".header")]
    headers += [
        (settings[name], settings[name.removesuffix("header") + "value.literal"].encode())
        for name in inserted
    ]
    event = parse(headers)
    assert (event.id, event.subject, event.outboxseq) == ("0b7e", "order-1", 7)
    assert (event.source, event.traceparent) == ("/trackops/trackops_order", "")
    assert dict(headers)["content-type"] == b"application/protobuf"
