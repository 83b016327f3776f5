"""For tests of what happens at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from trackops_common.database import Database

__all__ = ["at_once", "waits_for_a_lock"]

R = TypeVar("R")


def at_once(*calls: Callable[[], R]) -> Sequence[R]:
    """The results of calls that start together, each in a thread."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], R]) -> R:
        barrier.wait(timeout=10)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def waits_for_a_lock(database: Database) -> bool:
    """Whether a session of this role waits for a lock in this database."""
    rows = database.fetch(
        "SELECT FROM pg_stat_activity WHERE usename = current_user"
        " AND datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(rows)
