"""Partitions of the outbox and of the stored requests, made ahead and dropped when old.

A partition is made as a table of its own and then attached, which lets reads
and writes of its parent go on. Dropping one waits for every reader of its parent,
so it never stands in one transaction with the making of the next.
"""

from __future__ import annotations

from datetime import date, timedelta

from trackops_common.database import Database, Transaction

__all__ = ["OUTBOX_PARTITION_ROWS", "drop_old_requests", "maintain_outbox", "maintain_requests"]

OUTBOX_PARTITION_ROWS = 1_000_000
_AHEAD = 2
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.partitions', 0))"
_SHORT_WAIT = "SET LOCAL lock_timeout = '500ms'"


def maintain_outbox(database: Database) -> None:
    """Make the outbox partition in use and the two after it. Safe to repeat and to race."""
    with database.transaction() as transaction:
        transaction.execute(_LOCK)
        last = transaction.execute("SELECT last_value FROM outbox_seq")[0][0]
        first = last // OUTBOX_PARTITION_ROWS
        for number in range(first, first + _AHEAD + 1):
            low = number * OUTBOX_PARTITION_ROWS
            _ensure(
                transaction,
                "outbox",
                f"outbox_{number:06d}",
                f"{low}",
                f"{low + OUTBOX_PARTITION_ROWS}",
            )
        transaction.commit()


def maintain_requests(database: Database) -> None:
    """Make the partition of today, by Postgres's clock, and the two after it. As safe."""
    with database.transaction() as transaction:
        transaction.execute(_LOCK)
        today = _today(transaction)
        for day in (today + timedelta(days=ahead) for ahead in range(_AHEAD + 1)):
            _ensure(
                transaction,
                "requests",
                _requests_partition(day),
                f"'{day}'",
                f"'{day + timedelta(days=1)}'",
            )
        transaction.commit()


def drop_old_requests(database: Database, *, keep_days: int) -> None:
    """Drop the partitions of days more than `keep_days` ago, each in a transaction of its own.

    Raises:
        TransientError: somebody reads the table (a backup, say); what is left is for later.
    """
    with database.transaction() as transaction:
        oldest = _requests_partition(_today(transaction) - timedelta(days=keep_days))
        attached = _attached(transaction, "requests")
    for name in sorted(name for name in attached if name < oldest):
        with database.transaction() as transaction:
            transaction.execute(_SHORT_WAIT)
            transaction.execute(f"DROP TABLE IF EXISTS {name}")
            transaction.commit()


def _today(transaction: Transaction) -> date:
    today: date = transaction.execute("SELECT current_date")[0][0]
    return today


def _requests_partition(day: date) -> str:
    return f"requests_{day:%Y%m%d}"


def _ensure(transaction: Transaction, parent: str, name: str, low: str, high: str) -> None:
    if name in _attached(transaction, parent):
        return
    transaction.execute(f"CREATE TABLE IF NOT EXISTS {name} (LIKE {parent} INCLUDING DEFAULTS)")
    transaction.execute(_SHORT_WAIT)
    transaction.execute(
        f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high})"
    )


def _attached(transaction: Transaction, parent: str) -> set[str]:
    rows = transaction.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %(parent)s::regclass",
        {"parent": parent},
    )
    return {row[0] for row in rows}
