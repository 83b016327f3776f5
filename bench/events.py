"""A load of events, a commit each, and when each was committed.

    python -m bench.events --rate 500 --seconds 10
    python -m bench.events --rate 500 --seconds 10 --kafka 127.0.0.1:9092

Writes into the outbox that BENCH_DATABASE_URL names; with `--kafka`, hands the
same events to a producer without any outbox. Prints one JSON object: times
(by event id, the monotonic clock after the commit or the handing over, which
all processes of a machine share), errors (always 0: one ends it), cpu_share.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

from confluent_kafka import Producer

from bench.backlog import DATABASE_URL
from trackops_common.database import Database
from trackops_common.envelope import HeaderWriter
from trackops_common.outbox import OutboxEvent
from trackops_common.topics import INVENTORY_EVENTS

__all__ = ["PLAIN_SOURCE", "event"]

PLAIN_SOURCE = "bench"
"""The source of events that came without an outbox."""

_PAYLOAD_BYTES = 300
_WRITERS = 4

Send = Callable[[OutboxEvent], None]


def event(number: int) -> OutboxEvent:
    """One of a thousand aggregates'."""
    return OutboxEvent(
        event_id=uuid.uuid4(),
        topic=INVENTORY_EVENTS.name,
        key=f"order-{number % 1_000}",
        type="trackops.inventory.v1.StockReserved",
        aggregate_version=1,
        payload=b"x" * _PAYLOAD_BYTES,
        occurred_at=datetime.now(UTC),
    )


def _committing(database: Database) -> Send:
    def send(one: OutboxEvent) -> None:
        with database.transaction() as transaction:
            transaction.commit([one])

    return send


def _producing(producer: Producer) -> Send:
    headers = HeaderWriter(PLAIN_SOURCE).headers

    def send(one: OutboxEvent) -> None:
        attributes = headers(
            event_id=str(one.event_id),
            type_=one.type,
            subject=one.key,
            time=one.occurred_at.isoformat(),
            outboxseq=0,
            aggregateversion=one.aggregate_version,
            traceparent="",
        )
        producer.produce(one.topic, one.payload, one.key, headers=attributes)

    return send


def _write(send: Send, *, rate: float, seconds: float) -> dict[str, float]:
    """From several threads, each on time; when each event was sent."""
    times: dict[str, float] = {}
    end = time.monotonic() + seconds
    errors: list[Exception] = []

    def write(first_due: float) -> None:
        due = first_due
        try:
            while due < end:
                time.sleep(max(0.0, due - time.monotonic()))
                one = event(len(times))
                send(one)
                times[str(one.event_id)] = time.monotonic()
                due += _WRITERS / rate
        except Exception as error:  # noqa: BLE001 - raised below, in the main thread
            errors.append(error)

    now = time.monotonic()
    writers = [
        threading.Thread(target=write, args=(now + number / rate,)) for number in range(_WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    if errors:
        raise errors[0]
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--kafka", help="host:port of a broker that asks for no name")
    options = parser.parse_args()
    pace = {"rate": options.rate, "seconds": options.seconds}
    before = time.process_time()
    if options.kafka:
        producer = Producer({"bootstrap.servers": options.kafka, "linger.ms": 1})
        times = _write(_producing(producer), **pace)
        producer.flush(30)
    else:
        url = os.environ[DATABASE_URL]
        with closing(Database(url, application_name="bench", pool_size=_WRITERS)) as database:
            times = _write(_committing(database), **pace)
    share = (time.process_time() - before) / options.seconds
    print(json.dumps({"times": times, "errors": 0, "cpu_share": round(share, 2)}))


if __name__ == "__main__":
    main()
