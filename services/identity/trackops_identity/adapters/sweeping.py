"""Rows that say nothing any more."""

from __future__ import annotations

from trackops_common.database import Database

__all__ = ["sweep"]

_SESSIONS = """
DELETE FROM sessions
 WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM sessions WHERE expire_time < now() - interval '30 days'
        ORDER BY expire_time LIMIT %(rows)s FOR UPDATE SKIP LOCKED))
RETURNING 1
"""

_THROTTLES = """
DELETE FROM throttles
 WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM throttles WHERE last_attempt < now() - interval '2 days'
        ORDER BY last_attempt LIMIT %(rows)s FOR UPDATE SKIP LOCKED))
RETURNING 1
"""


def sweep(database: Database, *, batch_rows: int = 1_000) -> int:
    """Drop sessions 30 days after they expired, and throttles that have forgotten all.

    Each batch is a transaction of its own, and leaves out what somebody has locked. The tokens
    of letters need none of it: there is no table of them.

    Returns:
        The number of rows dropped.

    Raises:
        TransientError: Postgres is busy or away; nothing is lost by doing it later.
    """
    return sum(_drop(database, statement, batch_rows) for statement in (_SESSIONS, _THROTTLES))


def _drop(database: Database, statement: str, batch_rows: int) -> int:
    total = 0
    while dropped := len(database.fetch(statement, {"rows": batch_rows})):
        total += dropped
        if dropped < batch_rows:
            break
    return total
