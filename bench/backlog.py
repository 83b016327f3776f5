"""Orders on their way: accepted, and not yet CONFIRMED or REJECTED.

A load that holds their number down sends as many orders as can be finished, and
no more. They are counted without reading a table: an order's way writes two rows
into the order service's outbox, when it is accepted and when its saga has
decided, and the outbox's sequence says how many rows there were.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import psycopg2

__all__ = ["DATABASE_URL", "Backlog", "rows_written"]

DATABASE_URL = "BENCH_DATABASE_URL"
"""The environment variable that says where the order service's outbox is."""

_ASK_SECONDS = 0.02
_STUCK_SECONDS = 60.0
_ROWS_WRITTEN = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM outbox_seq"


def rows_written(url: str) -> int:
    """By the schema of the role in `url`, into its outbox, since it was made."""
    connection = psycopg2.connect(url)
    try:
        return _ask(connection)
    finally:
        connection.close()


class Backlog:
    """Lets a load wait until fewer than `limit` orders are on their way."""

    def __init__(self, limit: int) -> None:
        """Connects to the database that `DATABASE_URL` names; nobody else may place orders."""
        self._connection = psycopg2.connect(os.environ[DATABASE_URL])
        self._connection.autocommit = True
        self._before = _ask(self._connection)
        self._limit = limit
        self._ended = 0
        self._asked = asyncio.Condition()

    async def room(self, sent: Callable[[], int]) -> None:
        """Returns once there is room for another one beside those `sent`.

        Raises:
            TimeoutError: there was none for a minute, so the orders do not end.
        """
        async with asyncio.timeout(_STUCK_SECONDS), self._asked:
            await self._asked.wait_for(lambda: sent() - self._ended < self._limit)

    async def watch(self, answered: Callable[[], int]) -> None:
        """Asks again and again until cancelled; `answered` is how many orders were accepted."""
        while True:
            accepted = answered()
            rows = await asyncio.to_thread(_ask, self._connection)
            async with self._asked:
                self._ended = rows - self._before - accepted
                self._asked.notify_all()
            await asyncio.sleep(_ASK_SECONDS)


def _ask(connection: psycopg2.extensions.connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_ROWS_WRITTEN)
        (rows,) = cursor.fetchone() or (0,)
    return int(rows)
