"""The relay's speed: draining a full outbox, and from commit to consumer; each beside its ceiling.

Ceilings are measured in the same round: reading the same rows and dropping them,
a plain idempotent producer sending the same records without transactions, and a
plain producer's records on their way to the same consumer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.backlog import DATABASE_URL
from bench.events import PLAIN_SOURCE, event
from bench.figures import Figure, at_least, at_most, percentile
from bench.generator import generate
from bench.run import Run
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import temporary_stack
from trackops_common.database import Database
from trackops_common.envelope import HeaderWriter
from trackops_common.partitions import maintain_outbox
from trackops_common.topics import INVENTORY_EVENTS
from trackops_outbox_relay.adapters.postgres import PostgresOutbox
from trackops_outbox_relay.domain.checkpoint import START, Checkpoint, OutboxRow

__all__ = ["measure"]

_SOURCE = "trackops_inventory"
_ROWS = 200_000
_BATCH = 2_000
_RATE = 500
_SECONDS = 10
_WARM_UPS = 3
_LAST_ONES_SECONDS = 5.0
_IS_THE_LIMIT = 0.95


def measure(run: Run) -> Iterator[Figure]:
    with temporary_stack() as stack:
        run.say("starting Postgres, Redis, Kafka and identity")
        stack.start_servers()
        stack.provision()
        stack.services["identity"].start()
        url = stack.addresses.database_url(_SOURCE)
        with closing(Database(url, application_name="bench")) as database:
            rounds = _Rounds(run, stack, database)
            run.say("warming up, since servers that are new are slower at first")
            rounds.warm_up()
            yield from _figures([rounds.measure() for _ in run.each_round("the relay")])


@dataclass(frozen=True)
class _Round:
    """Rows a second, and milliseconds from commit, or from handing over, to a consumer."""

    read_per_s: float
    produce_per_s: float
    drain_per_s: float
    latencies: Sequence[float]
    plain_latencies: Sequence[float]


def _figures(rounds: Sequence[_Round]) -> Iterator[Figure]:
    yield Figure(
        "relay_events_per_s",
        f"events that one relay drains from an outbox of {_ROWS:,}",
        "/s",
        [one.drain_per_s for one in rounds],
        "events/s of a producer without transactions",
        [one.produce_per_s for one in rounds],
        at_least(40_000),
    )
    yield Figure(
        "relay_read_per_s",
        "the same rows, read and dropped",
        "/s",
        [one.read_per_s for one in rounds],
    )
    for percent, name, aim in ((50, "median", at_most(15)), (99, "99th percentile", at_most(60))):
        yield Figure(
            f"commit_to_consumer_p{percent}_ms",
            f"commit → read-committed consumer, at {_RATE} commits/s: {name}",
            "ms",
            [percentile(one.latencies, percent) for one in rounds],
            "ms from a plain producer",
            [percentile(one.plain_latencies, percent) for one in rounds],
            aim,
        )


class _Rounds:
    """One after the other on one outbox, each from where the one before ended."""

    def __init__(self, run: Run, stack: LocalStack, database: Database) -> None:
        self._run, self._stack, self._database = run, stack, database
        self._outbox = PostgresOutbox(database, _SOURCE)
        self._relay = stack.services["outbox_relay"]

    def warm_up(self) -> None:
        """Have the relay publish as it will when it is measured."""
        maintain_outbox(self._database)
        self._relay.start()
        try:
            for _ in range(_WARM_UPS):
                self._latencies(_SOURCE)
        finally:
            self._relay.stop()

    def measure(self) -> _Round:
        maintain_outbox(self._database)
        begin = self._end()
        self._fill()
        read, produce = self._read_per_s(begin), self._produce_per_s(begin)
        try:
            drain = self._drain_per_s()
            latencies = self._latencies(_SOURCE)
        finally:
            self._relay.stop()
        plain = self._latencies(
            PLAIN_SOURCE, "--kafka", self._stack.addresses.kafka.bootstrap_servers
        )
        return _Round(read, produce, drain, latencies, plain)

    def _end(self) -> Checkpoint:
        """The newest row's."""
        rows = self._database.fetch(
            "SELECT seq, event_id::text FROM outbox ORDER BY 1 DESC LIMIT 1"
        )
        return Checkpoint(*rows[0]) if rows else START

    def _fill(self) -> None:
        for first in range(0, _ROWS, 5_000):
            with self._database.transaction() as transaction:
                transaction.commit([event(first + number) for number in range(5_000)])

    def _batches(self, at: Checkpoint) -> Iterator[Sequence[OutboxRow]]:
        while rows := self._outbox.read(at, limit=_BATCH):
            yield rows
            at = rows[-1].checkpoint

    def _read_per_s(self, begin: Checkpoint) -> float:
        began = time.monotonic()
        return sum(map(len, self._batches(begin))) / (time.monotonic() - began)

    def _produce_per_s(self, begin: Checkpoint) -> float:
        """To a topic of the mesh, as another source, so that nobody takes it for the relay's."""
        headers = HeaderWriter(PLAIN_SOURCE).headers
        settings = {
            **self._stack.addresses.kafka.connection,
            "enable.idempotence": True,
            "linger.ms": 1,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
        producer, seconds = Producer(settings), 0.0
        for rows in self._batches(begin):
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

    def _drain_per_s(self) -> float:
        """From the first event that a consumer sees until the last one."""
        with _consumer(self._stack) as consumer:
            self._relay.start()
            seen, began, cpu = 0, 0.0, time.process_time()
            while seen < _ROWS:
                messages = consumer.consume(5_000, timeout=30)
                if not messages:
                    raise SystemExit("bench: the relay stopped publishing")
                began = began or time.monotonic()
                seen += sum(_is_of(_SOURCE, message) for message in messages)
            seconds = time.monotonic() - began
        if time.process_time() - cpu > _IS_THE_LIMIT * seconds:
            self._run.note("the consumer of the relay's events was the limit of draining")
        return seen / seconds

    def _latencies(self, source: str, *words: object) -> Sequence[float]:
        """Milliseconds to a read-committed consumer, of what `bench.events` sends."""
        seconds = self._run.seconds(_SECONDS)
        pace = ("--rate", _RATE, "--seconds", seconds)
        url = {DATABASE_URL: self._stack.addresses.database_url(_SOURCE)}
        with _consumer(self._stack) as consumer, ThreadPoolExecutor(max_workers=1) as beside:
            load = beside.submit(
                generate, self._run, "bench.events", *pace, *words, environment=url
            )
            seen: dict[str, float] = {}
            give_up = time.monotonic() + _LAST_ONES_SECONDS
            while not load.done() or time.monotonic() < give_up:
                message = consumer.poll(0.05)
                if message is not None and _is_of(source, message):
                    seen[dict(message.headers())["ce_id"].decode()] = time.monotonic()
                if not load.done():
                    give_up = time.monotonic() + _LAST_ONES_SECONDS
                elif len(seen) == len(load.result()["times"]):
                    break
        times = load.result()["times"]
        if seen.keys() != times.keys():
            raise SystemExit(f"bench: {len(seen)} of {len(times)} events of {source} came")
        return [1_000 * max(0.0, seen[one] - sent) for one, sent in times.items()]


def _is_of(source: str, message: Any) -> bool:
    return message.error() is None and ("ce_source", f"/trackops/{source}".encode()) in (
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
