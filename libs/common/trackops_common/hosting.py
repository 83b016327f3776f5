"""What the bootstraps of the services have alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

from trackops_common.batching import Batcher, in_thread
from trackops_common.bounded_calls import BoundedCalls
from trackops_common.database import Database
from trackops_common.grpc.server import wait_for_dependency
from trackops_common.housekeeping import OutboxRetention, housekeeping
from trackops_common.relay_client import published_by_relay
from trackops_common.settings import ServiceSettings

__all__ = ["BatcherFactory", "batcher_factory", "own_database"]

C = TypeVar("C")
R = TypeVar("R")


@asynccontextmanager
async def own_database(
    settings: ServiceSettings, *, application_name: str
) -> AsyncIterator[tuple[Database, asyncio.Task[None]]]:
    """The service's database, answering and with its partitions made, and the task that tidies it.

    `application_name` is also the name of its schema, as the relay knows it.

    Raises:
        DependencyUnavailable: Postgres stayed away for `settings.start_timeout_seconds`.
    """
    database = Database(
        settings.database_url.get_secret_value(),
        application_name=application_name,
        pool_size=settings.database_pool_size,
    )
    try:
        await wait_for_dependency(
            "Postgres", database.check, timeout_seconds=settings.start_timeout_seconds
        )
        async with housekeeping(
            database,
            request_retention_days=settings.request_retention_days,
            outbox_retention=_outbox_retention(settings, source=application_name),
        ) as keeper:
            yield database, keeper
    finally:
        database.close()


def _outbox_retention(settings: ServiceSettings, *, source: str) -> OutboxRetention | None:
    if not settings.outbox_relay_target:
        return None
    published = partial(published_by_relay, settings.outbox_relay_target, source)
    return OutboxRetention(published, settings.outbox_retention_hours)


class BatcherFactory:
    """Makes batchers whose use cases, which block, share one pool of threads."""

    def __init__(self, threads: Executor, stack: AsyncExitStack) -> None:
        self._threads = threads
        self._stack = stack

    def __call__(self, run: Callable[[Sequence[C]], Sequence[R]]) -> Batcher[C, R]:
        """A batcher of its own for `run`."""
        batcher = Batcher(in_thread(self._threads, run))
        self._stack.push_async_callback(batcher.close)
        return batcher

    def alone(self, run: Callable[[C], R]) -> BoundedCalls[C, R]:
        """Calls of `run` one by one, few at a time, so that the batchers keep threads."""
        return BoundedCalls(self._threads, run)


@asynccontextmanager
async def batcher_factory(*, threads: int) -> AsyncIterator[BatcherFactory]:
    """A factory of batchers; leaving runs what waits in them."""
    with ThreadPoolExecutor(threads, thread_name_prefix="batch") as pool:
        async with AsyncExitStack() as stack:
            yield BatcherFactory(pool, stack)
