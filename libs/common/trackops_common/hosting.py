"""What the bootstraps of the services have alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

import structlog

from trackops_common.batching import Batcher, BatchLimits, in_thread
from trackops_common.bounded_calls import BoundedCalls, CallLimits
from trackops_common.database import Database
from trackops_common.grpc.server import wait_for_dependency
from trackops_common.housekeeping import OutboxRetention, housekeeping
from trackops_common.relay_client import published_by_relay
from trackops_common.settings import ServiceSettings

__all__ = ["BatcherFactory", "batcher_factory", "outbox_retention", "own_database"]

_log = structlog.get_logger(__name__)

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
            outbox_retention=outbox_retention(settings, source=application_name),
        ) as keeper:
            yield database, keeper
    finally:
        database.close()


def outbox_retention(settings: ServiceSettings, *, source: str) -> OutboxRetention | None:
    """When partitions of the outbox of schema `source` are dropped; without a relay, never."""
    if not settings.outbox_relay_target:
        return None
    published = partial(published_by_relay, settings.outbox_relay_target, source)
    return OutboxRetention(published, settings.outbox_retention_hours)


class BatcherFactory:
    """Makes batchers whose use cases, which block, share one pool of threads."""

    def __init__(self, threads: Executor, stack: AsyncExitStack) -> None:
        self._threads = threads
        self._stack = stack

    def __call__(
        self, run: Callable[[Sequence[C]], Sequence[R]], *, limits: BatchLimits | None = None
    ) -> Batcher[C, R]:
        """A batcher of its own for `run`."""
        batcher = Batcher(in_thread(self._threads, run), limits=limits)
        self._stack.push_async_callback(batcher.close)
        return batcher

    def alone(
        self, run: Callable[[C], R], *, limits: CallLimits | None = None
    ) -> BoundedCalls[C, R]:
        """Calls of `run` one by one, few at a time, so that the batchers keep threads."""
        return BoundedCalls(self._threads, run, limits=limits)

    def later(self, work: Callable[[], None]) -> None:
        """Have `work` done in one of the threads, for nobody who waits; its error is logged."""
        self._threads.submit(work).add_done_callback(_report)


def _report(done: Future[None]) -> None:
    if error := done.exception():
        _log.error("work in the background failed", exc_info=error)


@asynccontextmanager
async def batcher_factory(*, threads: int) -> AsyncIterator[BatcherFactory]:
    """A factory of batchers; leaving runs what waits in them."""
    with ThreadPoolExecutor(threads, thread_name_prefix="batch") as pool:
        async with AsyncExitStack() as stack:
            yield BatcherFactory(pool, stack)
