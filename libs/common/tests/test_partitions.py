from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import date, timedelta
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from trackops_common.database import Database
from trackops_common.errors import BatchRefused, TransientError
from trackops_common.housekeeping import OutboxRetention, housekeeping
from trackops_common.partitions import (
    OUTBOX_PARTITION_ROWS,
    OutboxNotAsPublished,
    Published,
    drop_old_requests,
    drop_published_outbox,
    maintain_outbox,
    maintain_requests,
)
from trackops_common.testing import eventually

EVENT = (
    "INSERT INTO outbox (event_id, topic, key, type, aggregate_version, payload, occurred_at)"
    " VALUES (gen_random_uuid(), '', '', '', 1, '', now()) RETURNING tableoid::regclass::text"
)


@pytest.fixture
def today(schema: Database) -> date:
    """As Postgres has it; a test that runs over midnight would see two of them."""
    day: date = schema.fetch("SELECT current_date")[0][0]
    return day


def _partitions(schema: Database, parent: str) -> list[str]:
    rows = schema.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = %(parent)s::regclass ORDER BY 1",
        {"parent": parent},
    )
    return [row[0] for row in rows]


def _name(day: date) -> str:
    return f"requests_{day:%Y%m%d}"


def _insert_request(schema: Database, day: date) -> None:
    schema.execute("INSERT INTO requests VALUES (gen_random_uuid(), %(day)s, '', '')", {"day": day})


def _make_requests_of(schema: Database, day: date) -> None:
    schema.execute(
        f"CREATE TABLE {_name(day)} PARTITION OF requests"
        f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
    )
    _insert_request(schema, day)


def test_the_partition_in_use_and_two_more_are_made(schema: Database, today: date) -> None:
    assert _partitions(schema, "outbox") == ["outbox_000000", "outbox_000001", "outbox_000002"]
    assert _partitions(schema, "requests") == [
        _name(today + timedelta(days=ahead)) for ahead in range(3)
    ]


def test_making_them_again_changes_nothing(schema: Database) -> None:
    before = _partitions(schema, "outbox"), _partitions(schema, "requests")

    maintain_outbox(schema)
    maintain_requests(schema)

    assert (_partitions(schema, "outbox"), _partitions(schema, "requests")) == before


def test_replicas_that_start_at_once_make_them_together(schema: Database, schema_url: str) -> None:
    for table in (*_partitions(schema, "outbox"), *_partitions(schema, "requests")):
        schema.execute(f"DROP TABLE {table}")

    def start(_: int) -> None:
        with closing(Database(schema_url, application_name="replica", pool_size=1)) as replica:
            maintain_outbox(replica)
            maintain_requests(replica)

    with ThreadPoolExecutor(8) as replicas:
        list(replicas.map(start, range(8)))

    assert len(_partitions(schema, "outbox")) == 3
    assert len(_partitions(schema, "requests")) == 3


def test_rows_go_on_into_the_next_partition(schema: Database) -> None:
    schema.execute("SELECT setval('outbox_seq', %(last)s)", {"last": OUTBOX_PARTITION_ROWS - 2})

    with schema.transaction() as transaction:
        tables = [transaction.execute(EVENT)[0][0] for _ in range(3)]
        transaction.commit()

    assert tables == ["outbox_000000", "outbox_000001", "outbox_000001"]


def test_partitions_keep_ahead_of_the_rows(schema: Database) -> None:
    schema.execute("SELECT setval('outbox_seq', %(last)s)", {"last": OUTBOX_PARTITION_ROWS})

    maintain_outbox(schema)

    assert _partitions(schema, "outbox")[-1] == "outbox_000003"


def test_requests_of_tomorrow_have_their_place(schema: Database, today: date) -> None:
    _insert_request(schema, today + timedelta(days=1))
    _insert_request(schema, today + timedelta(days=2))
    with pytest.raises(BatchRefused):
        _insert_request(schema, today + timedelta(days=3))


def test_requests_are_kept_for_as_long_as_promised_and_no_longer(
    schema: Database, today: date
) -> None:
    kept, old, older = (today - timedelta(days=days) for days in (7, 8, 400))
    for day in (kept, old, older):
        _make_requests_of(schema, day)

    drop_old_requests(schema, keep_days=7)
    drop_old_requests(schema, keep_days=7)

    days = schema.fetch("SELECT created_on FROM requests")
    assert [row[0] for row in days] == [kept]
    assert len(_partitions(schema, "requests")) == 4


def test_who_reads_the_table_holds_up_the_drop_but_not_new_partitions(
    schema: Database, today: date
) -> None:
    """A backup holds such a lock for hours."""
    _make_requests_of(schema, today - timedelta(days=30))
    schema.execute(f"DROP TABLE {_name(today + timedelta(days=2))}")

    with schema.transaction() as backup:
        backup.execute("SELECT FROM requests")
        maintain_requests(schema)
        with pytest.raises(TransientError):
            drop_old_requests(schema, keep_days=7)
    assert _name(today + timedelta(days=2)) in _partitions(schema, "requests")

    drop_old_requests(schema, keep_days=7)
    assert len(_partitions(schema, "requests")) == 3


async def test_a_service_starts_while_its_tables_are_read(schema: Database, today: date) -> None:
    _make_requests_of(schema, today - timedelta(days=30))

    with schema.transaction() as backup:
        backup.execute("SELECT FROM requests")
        async with housekeeping(schema, request_retention_days=7) as task:
            assert not task.done()


async def test_housekeeping_goes_on_after_a_lock_that_was_busy(
    schema: Database, today: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trackops_common.housekeeping._INTERVAL_SECONDS", 0.01)
    _make_requests_of(schema, today - timedelta(days=30))
    with ExitStack() as backup, capture_logs() as logs:
        backup.enter_context(schema.transaction()).execute("SELECT FROM requests")
        async with housekeeping(schema, request_retention_days=7) as task:
            await eventually(lambda: logs, what="a pass that met the lock")
            backup.close()
            schema.execute("SELECT setval('outbox_seq', %(n)s)", {"n": OUTBOX_PARTITION_ROWS})

            await eventually(lambda: len(_partitions(schema, "requests")) == 3)
            await eventually(lambda: "outbox_000003" in _partitions(schema, "outbox"))
            assert not task.done()


ROWS = OUTBOX_PARTITION_ROWS


def _write_at(schema: Database, seq: int, *, hours_ago: int = 100) -> str:
    """A row of that place and age; its id."""
    rows = schema.fetch(
        "INSERT INTO outbox (seq, event_id, topic, key, type, aggregate_version, payload,"
        " occurred_at) VALUES (%(seq)s, gen_random_uuid(), '', '', '', 1, '',"
        " now() - make_interval(hours => %(hours)s)) RETURNING event_id::text",
        {"seq": seq, "hours": hours_ago},
    )
    event_id: str = rows[0][0]
    return event_id


@pytest.mark.parametrize(
    ("seq", "quarantined", "hours_ago", "left"),
    [
        (ROWS + 5, 0, 100, 2),
        (ROWS, 0, 100, 2),
        (ROWS - 1, 0, 100, 3),  # the relay reads this row back
        (2 * ROWS, 0, 100, 1),
        (ROWS + 5, ROWS - 1, 100, 3),
        (ROWS + 5, ROWS, 100, 2),
        (ROWS + 5, 0, 71, 3),
    ],
)
def test_outbox_partitions_go_when_published_whole_and_old(
    schema: Database, seq: int, quarantined: int, hours_ago: int, left: int
) -> None:
    _write_at(schema, 1, hours_ago=400)
    _write_at(schema, ROWS - 2, hours_ago=hours_ago)
    published = Published(seq, _write_at(schema, seq, hours_ago=hours_ago), quarantined)

    drop_published_outbox(schema, published, keep_hours=72)

    assert len(_partitions(schema, "outbox")) == left


def test_an_outbox_that_went_back_in_time_keeps_all_its_rows(schema: Database) -> None:
    _write_at(schema, 1)
    _write_at(schema, ROWS + 5)

    with pytest.raises(OutboxNotAsPublished):
        drop_published_outbox(schema, Published(ROWS + 5, str(UUID(int=1)), 0), keep_hours=72)

    assert len(_partitions(schema, "outbox")) == 3


def test_nothing_is_dropped_of_what_was_never_published(schema: Database) -> None:
    drop_published_outbox(schema, Published(0, "", 0), keep_hours=0)

    assert len(_partitions(schema, "outbox")) == 3


async def test_housekeeping_asks_the_relay_and_goes_on_while_it_is_away(
    schema: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trackops_common.housekeeping._INTERVAL_SECONDS", 0.01)
    published = Published(ROWS + 5, _write_at(schema, ROWS + 5), 0)
    failures = [TransientError("away")]

    def ask() -> Published:
        if failures:
            raise failures.pop()
        return published

    retention = OutboxRetention(ask, keep_hours=72)
    async with housekeeping(schema, request_retention_days=7, outbox_retention=retention) as task:
        await eventually(lambda: len(_partitions(schema, "outbox")) == 2)
        assert not task.done()
