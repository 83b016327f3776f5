"""The orchestrator as a process, whose topic holds what it did not expect."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from trackops.common.v1.dead_letter_pb2 import DeadLetter
from trackops.order.v1 import order_events_pb2, order_pb2

from trackops_cli.testing import wait_for
from trackops_common.database import Database
from trackops_common.envelope import HeaderWriter
from trackops_common.testing import ServiceProcess

_ROLE = "trackops_saga_orchestrator"
_WRITER = HeaderWriter("trackops_order")
_PLACED = "trackops.order.v1.OrderPlaced"


@dataclass
class World:
    """The service, and what is around it; nobody answers its sagas' calls."""

    process: ServiceProcess
    database: Database
    bootstrap: str
    topic: str

    def send(self, value: bytes, key: str, *, type_: str = _PLACED) -> None:
        headers = _WRITER.headers(
            event_id=str(uuid.uuid4()),
            type_=type_,
            subject=key,
            time="2026-01-01T00:00:00Z",
            outboxseq=1,
            aggregateversion=1,
            traceparent="",
        )
        producer = Producer({"bootstrap.servers": self.bootstrap})
        producer.produce(self.topic, value, key, headers=headers)
        assert producer.flush(20) == 0

    def place(self, key: str, order_id: str | None = None) -> None:
        self.send(_order_placed(order_id or key), key)

    def subjects(self) -> Sequence[str]:
        return [row[0] for row in self.database.fetch("SELECT subject FROM sagas")]

    def letters(self) -> Sequence[DeadLetter]:
        rows = self.database.fetch("SELECT payload FROM outbox ORDER BY seq")
        return [DeadLetter.FromString(bytes(row[0])) for row in rows]


@pytest.fixture
def world(database: Any, kafka: Any, tmp_path: Path) -> Iterator[World]:
    topic = kafka.topic()
    settings = {
        "TRACKOPS_LISTEN": "127.0.0.1:0",
        "TRACKOPS_DATABASE_URL": database.url(_ROLE),
        "TRACKOPS_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "TRACKOPS_ORDER_EVENTS_TOPIC": topic,
        "TRACKOPS_ORDER_EVENTS_CONSUMER": f"test-{uuid.uuid4()}",
        "TRACKOPS_DEAD_LETTERS_TOPIC": kafka.topic(),
        "TRACKOPS_RETRIES_TOPIC": kafka.topic(),
        "TRACKOPS_DEAD_LETTER_LIMIT": "2",
        **dict.fromkeys(
            [f"TRACKOPS_{name}_TARGET" for name in ("ORDER", "INVENTORY", "PAYMENT")],
            "127.0.0.1:1",
        ),
    }
    mine = Database(database.url(_ROLE), application_name="test")
    process = ServiceProcess("trackops_saga_orchestrator", settings, tmp_path / "log")
    yield World(process, mine, kafka.bootstrap, topic)
    process.kill()
    mine.close()


def _order_placed(order_id: str) -> bytes:
    order = order_pb2.Order(
        order_id=order_id,
        lines=[order_pb2.OrderLine(sku="TEA-1", quantity=2, unit_price_minor=300)],
        currency_code="EUR",
        total_minor=600,
    )
    return order_events_pb2.OrderPlaced(order=order).SerializeToString()


def test_types_of_newer_producers_pass_and_what_cannot_be_read_leaves(world: World) -> None:
    first, broken, mixed_up, last = (str(uuid.uuid4()) for _ in range(4))
    world.place(first)
    world.send(b"what this means is not known yet", first, type_="trackops.order.v1.OrderPraised")
    world.send(b"no protobuf", broken)
    world.place(mixed_up, order_id=first)
    world.place(last)
    wait_for(lambda: last in world.subjects(), what="the last order's saga")
    assert sorted(world.subjects()) == sorted([first, last])
    unreadable, other = world.letters()
    assert (unreadable.offset, unreadable.value, unreadable.key) == (
        2,
        b"no protobuf",
        broken.encode(),
    )
    assert (other.offset, other.key) == (3, mixed_up.encode())
    assert first in other.problem


def test_too_many_of_them_end_the_service_with_one_line(world: World) -> None:
    keys = [str(uuid.uuid4()) for _ in range(3)]
    for key in keys:
        world.send(b"no protobuf", key)
    assert world.process.wait(seconds=60) == 1
    (line,) = world.process.logged("cannot serve")
    assert "more than 2 of 1000 messages" in line["error"]
    assert "TRACKOPS_DEAD_LETTER_LIMIT" in line["error"]
    assert "Traceback" not in "\n".join(world.process.output)
    assert len(world.letters()) < 3
