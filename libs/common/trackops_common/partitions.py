"""Partitions of the outbox and of the stored requests, made ahead and dropped when old.

A partition is made as a table of its own and then attached, which lets reads
and writes of its parent go on. Dropping one waits for every reader of its parent,
so it never stands in one transaction with the making of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from trackops_common.database import Database, Transaction

__all__ = [
    "OUTBOX_PARTITION_ROWS",
    "OutboxNotAsPublished",
    "Published",
    "drop_old_requests",
    "drop_published_outbox",
    "maintain_outbox",
    "maintain_requests",
]

OUTBOX_PARTITION_ROWS = 1_000_000
_AHEAD = 2
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.partitions', 0))"
_SHORT_WAIT = "SET LOCAL lock_timeout = '500ms'"


@dataclass(frozen=True, slots=True)
class Published:
    """How far the relay has published an outbox."""

    seq: int
    """Of the row at the checkpoint; 0 before the first."""
    event_id: str
    lowest_quarantined_seq: int
    """The first row that waits to be published all the same; 0 where none does."""


class OutboxNotAsPublished(Exception):
    """The row at the relay's checkpoint is missing or another: the database went back in time."""

    def __init__(self, published: Published) -> None:
        super().__init__(
            f"the outbox does not hold event {published.event_id} at seq {published.seq}, which"
            " the relay has published; nothing of it is dropped"
        )


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


def drop_published_outbox(
    database: Database, published: Published, *, keep_hours: int
) -> Sequence[str]:
    """Drop the partitions that nobody needs any more, each in a transaction of its own.

    They lie wholly below the row at the checkpoint (the relay reads that row
    back) and below whatever waits in quarantine, and their newest row is older
    than `keep_hours`. Returns their names.

    Raises:
        OutboxNotAsPublished: it is not the outbox that was published.
        TransientError: somebody reads the table; what is left is for later.
    """
    bound = min(published.seq, published.lowest_quarantined_seq or published.seq)
    with database.transaction() as transaction:
        below = [
            name
            for name in sorted(_attached(transaction, "outbox"))
            if _end_of_outbox_partition(name) <= bound
        ]
        if below and not _holds(transaction, published):
            raise OutboxNotAsPublished(published)
        old = [name for name in below if _is_older(transaction, name, keep_hours)]
    for name in old:
        with database.transaction() as transaction:
            transaction.execute(_SHORT_WAIT)
            transaction.execute(f"DROP TABLE IF EXISTS {name}")
            transaction.commit()
    return old


def _end_of_outbox_partition(name: str) -> int:
    """The least `seq` beyond it."""
    return (int(name.removeprefix("outbox_")) + 1) * OUTBOX_PARTITION_ROWS


def _holds(transaction: Transaction, published: Published) -> bool:
    rows = transaction.execute(
        "SELECT FROM outbox WHERE seq = %(seq)s AND event_id = %(event_id)s",
        {"seq": published.seq, "event_id": published.event_id},
    )
    return bool(rows)


def _is_older(transaction: Transaction, partition: str, hours: int) -> bool:
    """Whether its newest row is, by Postgres's clock; an empty one is."""
    newest = f"SELECT occurred_at FROM {partition} ORDER BY seq DESC LIMIT 1"  # noqa: S608 - ours
    return not transaction.execute(
        f"SELECT FROM ({newest}) AS newest"
        " WHERE occurred_at > now() - make_interval(hours => %(hours)s)",
        {"hours": hours},
    )


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
