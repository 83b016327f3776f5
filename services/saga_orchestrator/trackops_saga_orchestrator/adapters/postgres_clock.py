"""Postgres's clock, without a question for each look."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from trackops_common.database import Database

__all__ = ["PostgresClock"]

_TRUSTED_SECONDS = 60.0
"""So long the machine's steady clock may drift before Postgres is asked again."""


class PostgresClock:
    """A `Clock` that agrees with Postgres's, whatever the machine's own time of day."""

    def __init__(self, database: Database) -> None:
        """Tells the machine's time of day until `synchronise` was called."""
        self._database = database
        self._origin = datetime.now(UTC) - timedelta(seconds=time.monotonic())
        self._trusted_until = 0.0

    def now(self) -> datetime:
        return self._origin + timedelta(seconds=time.monotonic())

    def synchronise(self) -> None:
        """Ask Postgres, unless that was done a short while ago. Blocks."""
        if time.monotonic() < self._trusted_until:
            return
        told: datetime = self._database.fetch("SELECT clock_timestamp()")[0][0]
        now = time.monotonic()
        self._origin = told.astimezone(UTC) - timedelta(seconds=now)
        self._trusted_until = now + _TRUSTED_SECONDS
