from __future__ import annotations

import random
import select
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime
from itertools import chain
from typing import cast

import psycopg2
import pytest
from psycopg2 import extensions

from trackops_cli.local.provision import connect
from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import wait_for
from trackops_common.database import Database
from trackops_common.errors import BatchRefused, TransientError
from trackops_common.outbox import (
    INSERT_AND_COMMIT,
    WAKE_UP_CHANNEL,
    OutboxEvent,
    insert_parameters,
)

WRITERS = 64
TRANSACTIONS_EACH = 8


def _event(key: str = "k", *, version: int = 1, event_type: str | None = "t") -> OutboxEvent:
    return OutboxEvent(
        event_id=uuid.uuid4(),
        topic="topic",
        key=key,
        type=cast("str", event_type),
        aggregate_version=version,
        payload=b"\x00\xff'\"\\",
        occurred_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        traceparent="00-trace",
    )


def test_an_event_is_stored_as_it_is(schema: Database) -> None:
    event = _event("nasty \\ \" ' {} , NULL é")
    with schema.transaction() as transaction:
        transaction.commit([event])

    columns = [field.name for field in fields(OutboxEvent)]
    (row,) = schema.fetch(f"SELECT {', '.join(columns)} FROM outbox")
    stored = dict(zip(columns, row, strict=True))

    assert stored | {"payload": bytes(stored["payload"])} == asdict(event)


def test_state_and_events_leave_in_one_transaction(schema: Database) -> None:
    with schema.transaction() as transaction:
        transaction.execute("INSERT INTO things VALUES (1, 'a')")
        transaction.commit([_event()])

    written_by = schema.fetch(
        "SELECT xmin::text FROM things UNION ALL SELECT xmin::text FROM outbox"
    )

    assert len(written_by) == 2
    assert len({row[0] for row in written_by}) == 1


def test_events_that_cannot_be_stored_take_the_state_with_them(schema: Database) -> None:
    with pytest.raises(BatchRefused), schema.transaction() as transaction:
        transaction.execute("INSERT INTO things VALUES (1, 'a')")
        transaction.commit([_event(), _event(event_type=None)])

    assert schema.fetch("SELECT FROM things") == []
    assert schema.fetch("SELECT FROM outbox") == []


def test_a_transaction_without_events_takes_no_outbox_lock(schema: Database) -> None:
    with schema.transaction() as holder:
        holder.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.outbox', 0))"
        )
        with schema.transaction() as other:
            other.execute("INSERT INTO things VALUES (1, 'a')")
            other.commit()

    assert len(schema.fetch("SELECT FROM things")) == 1


class _Follower(threading.Thread):
    """Reads `seq > last` as the relay does, as often as it can."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.seen: list[tuple[int, uuid.UUID]] = []
        self.reads = 0
        self._url = url
        self._enough = threading.Event()

    def run(self) -> None:
        with connect(self._url) as connection, connection.cursor() as cursor:
            while True:
                last_round = self._enough.is_set()
                last = self.seen[-1][0] if self.seen else 0
                cursor.execute(
                    "SELECT seq, event_id::text FROM outbox WHERE seq > %s ORDER BY seq", (last,)
                )
                self.seen += [(seq, uuid.UUID(event_id)) for seq, event_id in cursor.fetchall()]
                self.reads += 1
                if last_round:
                    return

    def finish(self) -> None:
        self._enough.set()
        self.join(30)


def test_a_reader_never_misses_a_row_however_writers_interleave(
    schema: Database, schema_url: str
) -> None:
    """Without the outbox lock the reader passes numbers that commit later."""
    follower = _Follower(schema_url)
    follower.start()
    with (
        closing(Database(schema_url, application_name="writers", pool_size=WRITERS)) as database,
        ThreadPoolExecutor(WRITERS) as writers,
    ):
        batches = list(chain(*writers.map(lambda seed: _write(database, seed), range(WRITERS))))
    follower.finish()

    rows = schema.fetch("SELECT seq, event_id FROM outbox ORDER BY seq")
    final = [(row[0], row[1]) for row in rows]
    assert follower.reads > TRANSACTIONS_EACH
    # It only ever appends: what it had read at any moment was a prefix of this.
    assert follower.seen == final
    places = {event_id: place for place, (_, event_id) in enumerate(final)}
    assert len(places) == sum(map(len, batches))
    for batch in batches:
        first = places[batch[0]]
        assert [places[event_id] for event_id in batch] == list(range(first, first + len(batch)))


def _write(database: Database, seed: int) -> Sequence[Sequence[uuid.UUID]]:
    """Transactions that commit, are given up, or are refused after they took their numbers.

    Each takes its time before it ends.
    """
    choose = random.Random(seed)
    batches = []
    for _ in range(TRANSACTIONS_EACH):
        events = [_event(version=number) for number in range(choose.randint(1, 20))]
        fate = choose.choice(["commit", "commit", "commit", "give up", "be refused"])
        with suppress(BatchRefused), database.transaction() as transaction:
            transaction.execute("SELECT pg_sleep(%(s)s)", {"s": choose.uniform(0, 0.02)})
            if fate == "commit":
                transaction.commit(events)
                batches.append([event.event_id for event in events])
            elif fate == "be refused":
                transaction.commit([*events, _event(event_type=None)])
    return batches


@pytest.fixture
def stalled(schema_url: str) -> Iterator[extensions.connection]:
    """A client that sends and then never reads, as one that is paged out or stopped."""
    connection = psycopg2.connect(schema_url, async_=True)
    _finish(connection)
    yield connection
    connection.close()


def _finish(connection: extensions.connection) -> None:
    while (state := connection.poll()) != extensions.POLL_OK:
        waits_to_write = state == extensions.POLL_WRITE
        select.select([connection], [connection] if waits_to_write else [], [], 10)


def test_a_client_that_stalls_after_its_last_string_blocks_nobody(
    schema: Database, stalled: extensions.connection
) -> None:
    cursor = stalled.cursor()
    cursor.execute("BEGIN")
    _finish(stalled)
    cursor.execute(INSERT_AND_COMMIT, insert_parameters([_event("stalled")]))

    wait_for(lambda: _keys(schema) == ["stalled"], seconds=5)
    with schema.transaction() as transaction:
        transaction.commit([_event("other")])

    assert _keys(schema) == ["stalled", "other"]


def test_a_session_that_is_stuck_with_the_lock_is_ended_and_stops_nobody_for_long(
    schema: Database, schema_url: str
) -> None:
    """A client that took the lock by itself and then sleeps, its transaction open."""
    limits = schema.fetch(
        "SELECT name, setting::int, unit FROM pg_settings WHERE name IN"
        " ('lock_timeout', 'idle_in_transaction_session_timeout') ORDER BY name"
    )
    assert [tuple(row) for row in limits] == [
        ("idle_in_transaction_session_timeout", 10_000, "ms"),
        ("lock_timeout", 5_000, "ms"),
    ]
    with pytest.raises(TransientError), schema.transaction() as stuck:
        stuck.execute("SET LOCAL idle_in_transaction_session_timeout = '300ms'")
        stuck.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.outbox', 0))"
        )
        with schema.transaction() as transaction:
            transaction.commit([_event("other")])
        assert _keys(schema) == ["other"]
        stuck.commit()


def test_who_waits_too_long_for_the_lock_gives_up_and_leaves_nothing(schema: Database) -> None:
    with schema.transaction() as holder:
        holder.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.outbox', 0))"
        )
        with pytest.raises(TransientError), schema.transaction() as transaction:
            transaction.execute("SET LOCAL lock_timeout = '100ms'")
            transaction.execute("INSERT INTO things VALUES (1, 'a')")
            transaction.commit([_event("late")])

    assert schema.fetch("SELECT FROM things") == []
    assert _keys(schema) == []


def _keys(schema: Database) -> list[str]:
    return [row[0] for row in schema.fetch("SELECT key FROM outbox ORDER BY seq")]


def test_a_commit_wakes_whoever_listens(schema: Database, schema_url: str) -> None:
    with connect(schema_url) as listener, listener.cursor() as cursor:
        cursor.execute(f"LISTEN {WAKE_UP_CHANNEL}")
        with schema.transaction() as transaction:
            transaction.commit([_event()])

        def is_woken() -> bool:
            listener.poll()
            return bool(listener.notifies)

        wait_for(is_woken, seconds=5)
        assert [notify.payload for notify in listener.notifies] == ["trackops_order"]
        assert _keys(schema) == ["k"]


def test_the_relays_role_reads_the_outbox_and_nothing_else(
    schema: Database, database: FreshDatabase
) -> None:
    with schema.transaction() as transaction:
        transaction.commit([_event()])

    with connect(database.url("trackops_outbox_relay")) as relay, relay.cursor() as cursor:
        cursor.execute("SELECT key FROM trackops_order.outbox")
        assert cursor.fetchall() == [("k",)]
        for forbidden in (
            "DELETE FROM trackops_order.outbox",
            "SELECT FROM trackops_order.requests",
            "SELECT FROM trackops_order.orders",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(forbidden)
