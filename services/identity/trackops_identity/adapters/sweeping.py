"""Rows that say nothing any more."""

from __future__ import annotations

from trackops_common.database import Database

__all__ = ["sweep"]

_SESSIONS = "DELETE FROM sessions WHERE expire_time < now() - interval '30 days'"
_THROTTLES = "DELETE FROM throttles WHERE last_attempt < now() - interval '2 days'"


def sweep(database: Database) -> None:
    """Drop sessions 30 days after they expired, and throttles that have forgotten all.

    Raises:
        TransientError: Postgres is busy or away; nothing is lost by doing it later.
    """
    database.execute(_SESSIONS)
    database.execute(_THROTTLES)
