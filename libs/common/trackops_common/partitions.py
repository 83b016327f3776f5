"""Partitions of the outbox and of the stored requests, made ahead and dropped when old.

A partition is made as a table of its own and then attached, which lets reads
and writes of its parent go on.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from trackops_common.database import Database, Transaction

__all__ = ["OUTBOX_PARTITION_ROWS", "maintain_outbox", "maintain_requests"]

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


def maintain_requests(database: Database, *, keep_days: int) -> None:
    """Make today's partition and the two after it; drop those older than `keep_days`."""
    today = datetime.now(UTC).date()
    with database.transaction() as transaction:
        transaction.execute(_LOCK)
        for day in (today + timedelta(days=ahead) for ahead in range(_AHEAD + 1)):
            _ensure(
                transaction,
                "requests",
                f"requests_{day:%Y%m%d}",
                f"'{day}'",
                f"'{day + timedelta(days=1)}'",
            )
        oldest = f"requests_{today - timedelta(days=keep_days):%Y%m%d}"
        transaction.execute(_SHORT_WAIT)
        for name in sorted(_attached(transaction, "requests")):
            if name < oldest:
                transaction.execute(f"DROP TABLE {name}")
        transaction.commit()


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
