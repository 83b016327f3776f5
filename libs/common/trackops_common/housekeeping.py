"""Partitions made ahead and dropped when old, while a service runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from trackops_common.database import Database
from trackops_common.errors import TransientError
from trackops_common.partitions import (
    OutboxNotAsPublished,
    Published,
    drop_old_requests,
    drop_published_outbox,
    maintain_outbox,
    maintain_requests,
)

__all__ = ["OutboxRetention", "housekeeping"]

_log = structlog.get_logger(__name__)

_INTERVAL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class OutboxRetention:
    """When partitions of the outbox are dropped."""

    published: Callable[[], Published]
    """Asks the relay how far it is; may raise `TransientError`."""
    keep_hours: int


@asynccontextmanager
async def housekeeping(
    database: Database,
    *,
    request_retention_days: int,
    outbox_retention: OutboxRetention | None = None,
) -> AsyncIterator[asyncio.Task[None]]:
    """Make partitions before entering; make and drop them each minute in the task handed out.

    A pass that meets a transient error (a lock that is busy, a lost
    connection) is left to the next; there is room ahead for many. Without
    `outbox_retention` no partition of the outbox is ever dropped.
    """

    def make_room() -> None:
        maintain_outbox(database)
        maintain_requests(database)

    def tidy() -> None:
        make_room()
        drop_old_requests(database, keep_days=request_retention_days)
        if outbox_retention is not None:
            _drop_outbox(database, outbox_retention)

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


def _drop_outbox(database: Database, retention: OutboxRetention) -> None:
    try:
        dropped = drop_published_outbox(
            database, retention.published(), keep_hours=retention.keep_hours
        )
    except OutboxNotAsPublished as error:
        _log.error("outbox not tidied", error=str(error))
        return
    if dropped:
        _log.info("outbox partitions dropped", partitions=dropped)
