"""Tables as they are after many orders: copies of a few that were really made and confirmed.

The copies are made by SQL in every table where an order leaves rows, each
service's as its own role. Ids are derived from those copied, alike in every
schema, so that a copy's order, reservation, payment and saga belong together;
its times lie before those copied, and its place in the outbox before everything
that the relay has yet to publish.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg2

from trackops_cli.local.stack import LocalStack
from trackops_common.partitions import OUTBOX_PARTITION_ROWS

__all__ = ["History", "leave_room_for_history"]

_TABLES = {
    "trackops_order": ("orders", "order_lines", "order_transitions", "requests", "outbox"),
    "trackops_inventory": ("reservations", "requests", "outbox"),
    "trackops_payment": ("payments", "requests", "outbox"),
    "trackops_saga_orchestrator": ("sagas",),
}
"""Of a confirmed order. Stock is a row a sku, however many orders there were."""

_IDS = {"order_id", "request_key", "saga_id", "event_id"}
_IDS_IN_TEXT = {"subject", "key"}
_TIMES = {"create_time", "update_time", "enter_time", "occurred_at", "wake_at"}
_SECONDS_APART = 10
_PARTITIONS = 4
"""Of the outbox: an order leaves no more than two rows in any."""
_COPIES_AT_ONCE = 50

_COLUMNS = """
SELECT column_name FROM information_schema.columns
 WHERE table_schema = current_schema() AND table_name = %s ORDER BY ordinal_position
"""

Cursor = psycopg2.extensions.cursor


def leave_room_for_history(stack: LocalStack) -> None:
    """Let outboxes begin behind rows that are not there yet; before any service is started.

    What fills that place later counts as published, since the relay is beyond it.
    """
    for schema, tables in _TABLES.items():
        if "outbox" in tables:
            with _entered(stack, schema) as cursor:
                cursor.execute("SELECT setval('outbox_seq', %s)", (_FIRST_SEQ,))


_FIRST_SEQ = _PARTITIONS * OUTBOX_PARTITION_ROWS


class History:
    """The orders that were confirmed when this was made, as often as wanted."""

    def __init__(self, stack: LocalStack, say: Callable[[str], None]) -> None:
        """Keeps what is to be copied in tables of its own."""
        self._stack, self._say = stack, say
        self._copies = 0
        for schema, tables in _TABLES.items():
            with _entered(stack, schema) as cursor:
                for table in tables:
                    cursor.execute(f"CREATE TABLE bench_{table} AS SELECT * FROM {table}")
        with _entered(stack, "trackops_order") as cursor:
            cursor.execute("SELECT count(*) FROM bench_orders WHERE state = 'CONFIRMED'")
            (self.template_orders,) = cursor.fetchone() or (0,)

    def grow_to(self, orders: int) -> None:
        """Until there are so many of them, less than one copy of all; returns analysed."""
        began, last = time.monotonic(), orders // self.template_orders - 1
        for schema, tables in _TABLES.items():
            with _entered(self._stack, schema) as cursor:
                cursor.execute("SET synchronous_commit = off")
                for table in tables:
                    self._copy(cursor, table, last)
                    cursor.execute(f"VACUUM ANALYZE {table}")
        with closing(psycopg2.connect(self._stack.admin_url)) as admin:
            admin.autocommit = True
            admin.cursor().execute("CHECKPOINT")
        self._copies = last
        self._say(f"filled the tables with {orders:,} orders in {time.monotonic() - began:.0f} s")

    def _copy(self, cursor: Cursor, table: str, last: int) -> None:
        cursor.execute(_COLUMNS, (table,))
        columns = [name for (name,) in cursor.fetchall()]
        statement = (
            f"INSERT INTO {table} ({', '.join(columns)})"
            f" SELECT {', '.join(map(_derived, columns))}"
            f"   FROM generate_series(%(first)s::int, %(last)s::int) AS copy, bench_{table}"
        )
        if table == "outbox":
            statement = statement.replace("bench_outbox", _NUMBERED_OUTBOX)
            statement = _partitions(cursor, last) + statement
        for first in range(self._copies + 1, last + 1, _COPIES_AT_ONCE):
            bounds = {"first": first, "last": min(first + _COPIES_AT_ONCE - 1, last)}
            cursor.execute(statement, bounds)


_NUMBERED_OUTBOX = """
(SELECT row_number() OVER (ORDER BY seq) AS place, count(*) OVER () AS places, * FROM bench_outbox)
AS numbered
"""


def _partitions(cursor: Cursor, last: int) -> str:
    """Makes the partitions for so many copies, in the transaction that fills them.

    Any service drops one that is empty, since nothing in it is young.
    """
    cursor.execute("SELECT count(*) FROM bench_outbox")
    (places,) = cursor.fetchone() or (0,)
    return "".join(
        f"CREATE TABLE IF NOT EXISTS outbox_{number:06d} PARTITION OF outbox FOR VALUES"
        f" FROM ({number * OUTBOX_PARTITION_ROWS}) TO ({(number + 1) * OUTBOX_PARTITION_ROWS});"
        for number in range(last * places // OUTBOX_PARTITION_ROWS + 1)
    )


def _derived(column: str) -> str:
    """A copy's value of that column, in SQL; times go back with each copy."""
    if column in _IDS:
        return f"md5(copy || {column}::text)::uuid"
    if column in _IDS_IN_TEXT:
        return f"(md5(copy || {column})::uuid)::text"
    if column in _TIMES:
        return f"{column} - copy * interval '{_SECONDS_APART} s'"
    if column == "seq":
        return "(copy - 1) * places + place"
    return column


@contextmanager
def _entered(stack: LocalStack, role: str) -> Iterator[Cursor]:
    """The stack's database as that role, each statement a transaction."""
    with closing(psycopg2.connect(stack.addresses.database_url(role))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
