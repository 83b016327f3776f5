"""The relay's speed: draining a full outbox, and from commit to consumer; each beside its ceiling.

Ceilings are measured in the same run: reading the same rows and dropping them,
and a plain idempotent producer sending the same records without transactions.
"""

from __future__ import annotations

import statistics
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from trackops_cli.local.stack import LocalStack
from trackops_common import envelope
from trackops_common.database import Database
from trackops_common.outbox import OutboxEvent
from trackops_common.partitions import maintain_outbox
from trackops_common.topics import INVENTORY_EVENTS
from trackops_outbox_relay.adapters.postgres import PostgresOutbox
from trackops_outbox_relay.domain.checkpoint import Checkpoint, OutboxRow

__all__ = ["RelayFigures", "measure_relay"]

_SOURCE = "trackops_inventory"
_ROWS = 200_000
_PAYLOAD_BYTES = 300
_BATCH = 2_000
_COMMITS_PER_SECOND = 500
_LATENCY_SECONDS = 10
_WRITERS = 4


@dataclass(frozen=True)
class RelayFigures:
    """Rows a second and milliseconds."""

    drain_per_s: float
    read_per_s: float
    """Reading the rows only."""
    produce_per_s: float
    """Producing them only."""
    latency_p50_ms: float
    latency_p99_ms: float
    commits_per_s: float
    """What the writer reached while latency was measured."""


def measure_relay(stack: LocalStack) -> RelayFigures:
    """Of the relay of a provisioned stack whose servers run; starts and stops it."""
    url = stack.addresses.database_url(_SOURCE)
    with closing(Database(url, application_name="bench")) as database:
        maintain_outbox(database)
        _fill(database)
        read = _read_per_s(database)
        produce = _produce_per_s(stack, database)
        drain = _drain_per_s(stack)
        latencies, commits = _latencies(stack, database)
    stack.services["outbox_relay"].stop()
    cuts = statistics.quantiles(latencies, n=100)
    return RelayFigures(drain, read, produce, cuts[49], cuts[98], commits)


def _event(number: int) -> OutboxEvent:
    return OutboxEvent(
        event_id=uuid.uuid4(),
        topic=INVENTORY_EVENTS.name,
        key=f"order-{number % 1_000}",
        type="trackops.inventory.v1.StockReserved",
        aggregate_version=1,
        payload=b"x" * _PAYLOAD_BYTES,
        occurred_at=datetime.now(UTC),
    )


def _fill(database: Database) -> None:
    for first in range(0, _ROWS, 5_000):
        with database.transaction() as transaction:
            transaction.commit([_event(first + number) for number in range(5_000)])


def _batches(database: Database) -> Iterator[list[OutboxRow]]:
    outbox, at = PostgresOutbox(database, _SOURCE), Checkpoint(0, "")
    while rows := list(outbox.read(at, limit=_BATCH)):
        yield rows
        at = rows[-1].checkpoint


def _read_per_s(database: Database) -> float:
    began = time.monotonic()
    return sum(map(len, _batches(database))) / (time.monotonic() - began)


def _produce_per_s(stack: LocalStack, database: Database) -> float:
    """To a topic of the mesh, as another source, so that nobody takes it for the relay's."""
    headers = envelope.HeaderWriter("bench").headers
    settings = {
        **stack.addresses.kafka.connection,
        "enable.idempotence": True,
        "linger.ms": 1,
        "compression.type": "lz4",
        "queue.buffering.max.messages": 1_000_000,
    }
    producer, seconds = Producer(settings), 0.0
    for rows in _batches(database):
        began = time.monotonic()
        for row in rows:
            attributes = headers(
                event_id=row.event_id,
                type_=row.type,
                subject=row.key,
                time=row.occurred_at,
                outboxseq=row.seq,
                aggregateversion=row.aggregate_version,
                traceparent="",
            )
            producer.produce(row.topic, row.payload, row.key, headers=attributes)
        seconds += time.monotonic() - began
    began = time.monotonic()
    producer.flush(60)
    return _ROWS / (seconds + time.monotonic() - began)


def _drain_per_s(stack: LocalStack) -> float:
    """From the first event that a consumer sees until the last one."""
    with _consumer(stack) as consumer:
        stack.services["outbox_relay"].start()
        seen, began = 0, 0.0
        while seen < _ROWS:
            messages = consumer.consume(5_000, timeout=30)
            if not messages:
                raise SystemExit("bench: the relay stopped publishing")
            began = began or time.monotonic()
            seen += sum(_is_of_the_relay(message) for message in messages)
        return seen / (time.monotonic() - began)


def _latencies(stack: LocalStack, database: Database) -> tuple[list[float], float]:
    """Milliseconds from commit to a read-committed consumer; commits a second."""
    committed: dict[str, float] = {}
    stop = threading.Event()

    def write() -> None:
        due = time.monotonic()
        while not stop.wait(max(0, due - time.monotonic())):
            event = _event(len(committed))
            with database.transaction() as transaction:
                transaction.commit([event])
            committed[str(event.event_id)] = time.monotonic()
            due += _WRITERS / _COMMITS_PER_SECOND

    seen: dict[str, float] = {}
    writers = [threading.Thread(target=write) for _ in range(_WRITERS)]
    with _consumer(stack) as consumer:
        for writer in writers:
            writer.start()
        end = time.monotonic() + _LATENCY_SECONDS
        while time.monotonic() < end:
            message = consumer.poll(0.1)
            if message is not None and _is_of_the_relay(message):
                seen[dict(message.headers())["ce_id"].decode()] = time.monotonic()
        stop.set()
        for writer in writers:
            writer.join()
    pairs = [(committed[one], at) for one, at in seen.items() if one in committed]
    latencies = [1_000 * max(0.0, at - commit) for commit, at in pairs]
    return latencies, len(committed) / _LATENCY_SECONDS


def _is_of_the_relay(message: Any) -> bool:
    return message.error() is None and ("ce_source", f"/trackops/{_SOURCE}".encode()) in (
        message.headers() or ()
    )


@contextmanager
def _consumer(stack: LocalStack) -> Iterator[Any]:
    """At the end of the topic."""
    consumer: Any = Consumer(
        {
            **stack.addresses.kafka.connection,
            "group.id": "bench",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 5,
        }
    )
    try:
        places = [
            TopicPartition(INVENTORY_EVENTS.name, n) for n in range(INVENTORY_EVENTS.partitions)
        ]
        for place in places:
            place.offset = consumer.get_watermark_offsets(place, timeout=10)[1]
        consumer.assign(places)
        yield consumer
    finally:
        consumer.close()
