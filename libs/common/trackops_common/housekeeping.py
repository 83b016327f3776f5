"""Partitions made ahead and dropped when old, while a service runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from trackops_common.database import Database
from trackops_common.errors import TransientError
from trackops_common.partitions import drop_old_requests, maintain_outbox, maintain_requests

__all__ = ["housekeeping"]

_log = structlog.get_logger(__name__)

_INTERVAL_SECONDS = 60.0


@asynccontextmanager
async def housekeeping(
    database: Database, *, request_retention_days: int, outbox: bool = True
) -> AsyncIterator[asyncio.Task[None]]:
    """Make partitions before entering; make and drop them each minute in the task handed out.

    `outbox` is False for a service that has none.

    A pass that meets a transient error (a lock that is busy, a lost
    connection) is left to the next; there is room ahead for many.
    """

    def make_room() -> None:
        if outbox:
            maintain_outbox(database)
        maintain_requests(database)

    def tidy() -> None:
        make_room()
        drop_old_requests(database, keep_days=request_retention_days)

    async def keep_tidy() -> None:
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            try:
                await asyncio.to_thread(tidy)
            except TransientError as error:
                _log.warning("partitions not tidied; will try again", error=str(error))

    await asyncio.to_thread(make_room)
    task = asyncio.create_task(keep_tidy(), name="housekeeping")
    try:
        yield task
    finally:
        task.cancel()
