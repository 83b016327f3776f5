"""What the bootstraps of the services have alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

import structlog

from trackops_common.batching import Batcher, BatchLimits, BatchMeter, in_thread
from trackops_common.bounded_calls import BoundedCalls, Places
from trackops_common.database import Database
from trackops_common.grpc.server import wait_for_dependency
from trackops_common.housekeeping import OutboxRetention, housekeeping
from trackops_common.inbox_lag import InboxLag, PartitionLag
from trackops_common.mesh_identity import ServiceTokens
from trackops_common.relay_client import published_by_relay
from trackops_common.revisions import needed_revision
from trackops_common.settings import ServiceSettings
from trackops_common.traces.spans import exemplar
from trackops_common.vitals import SECONDS, Reading, Sampled, Vitals, one

__all__ = [
    "BatcherFactory",
    "batcher_factory",
    "outbox_retention",
    "own_database",
    "show_dead_letters",
    "show_lag",
    "show_pool",
]

_log = structlog.get_logger(__name__)

C = TypeVar("C")
R = TypeVar("R")

_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@asynccontextmanager
async def own_database(
    settings: ServiceSettings, *, application_name: str, vitals: Vitals
) -> AsyncIterator[tuple[Database, asyncio.Task[None]]]:
    """The service's database, answering and with its partitions made, and the task that tidies it.

    `application_name` is the service's package, and so its schema's name, as the relay knows it.

    Raises:
        DependencyUnavailable: Postgres stayed away for `settings.start_timeout_seconds`.
        StartRefused: the schema is not migrated as far as the package needs it.
    """
    database = Database(
        settings.database_url.get_secret_value(),
        application_name=application_name,
        pool_size=settings.database_pool_size,
        needed_revision=needed_revision(application_name),
    )
    show_pool(vitals, database)
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


def show_pool(vitals: Vitals, database: Database) -> None:
    """Show how the pool of the service's database is used."""
    name = "trackops_database_pool"
    vitals.gauge(
        f"{name}_size", "Connections to Postgres, at most.", lambda: one(database.pool.size)
    )
    vitals.gauge(f"{name}_in_use", "Connections that are taken.", lambda: one(database.pool.in_use))
    vitals.gauge(
        f"{name}_waiting", "Threads that wait for one.", lambda: one(database.pool.waiting)
    )
    waits = vitals.histogram(
        f"{name}_wait_seconds", "What it took to get a connection.", buckets=SECONDS
    )
    if waits is not None:
        database.on_wait = lambda seconds: waits.observe(seconds, exemplar())


def show_lag(vitals: Vitals, lag: InboxLag, *, group: str) -> None:
    """Show how far this replica's consumer in `group` is behind, by partition."""
    labels = ("group", "topic", "partition")

    def read(number: Callable[[PartitionLag], float]) -> Reading:
        return [
            ((group, topic, str(partition)), number(left))
            for (topic, partition), left in lag.partitions.items()
        ]

    vitals.gauge(
        "trackops_inbox_lag_messages",
        "Messages that are left to handle.",
        lambda: read(lambda left: left.messages),
        labels=labels,
    )
    vitals.gauge(
        "trackops_inbox_lag_seconds",
        "The age of the oldest of them; 0 where there is none.",
        lambda: read(lambda left: left.seconds),
        labels=labels,
    )


def show_dead_letters(vitals: Vitals, waiting: Sampled[int], *, group: str) -> None:
    """Show how many dead letters of the consumer `group` wait for an operator."""
    vitals.gauge(
        "trackops_dead_letters",
        "Dead letters of all replicas that nobody has replayed or given up.",
        lambda: () if waiting.value is None else [((group,), waiting.value)],
        labels=("group",),
    )


def outbox_retention(
    settings: ServiceSettings, *, source: str, token: Callable[[], str] | None = None
) -> OutboxRetention | None:
    """When partitions of the outbox of schema `source` are dropped; without a relay, never.

    `token` is this service's own, which may block; without, this makes one.
    """
    if not settings.outbox_relay_target:
        return None
    own = token or ServiceTokens(settings).get
    target = settings.outbox_relay_target
    published = partial(published_by_relay, target, source, own, settings.tls)
    return OutboxRetention(published, settings.outbox_retention_hours)


class BatcherFactory:
    """Makes batchers whose use cases, which block, share one pool of threads."""

    def __init__(self, threads: Executor, stack: AsyncExitStack, vitals: Vitals) -> None:
        self._threads = threads
        self._stack = stack
        self._vitals = vitals
        self._sizes = vitals.histogram(
            "trackops_batch_commands",
            "Commands that ran together, by use case.",
            buckets=_BATCH_SIZES,
            labels=("batch",),
        )
        self._waits = vitals.histogram(
            "trackops_batch_wait_seconds",
            "How long the first command of a batch waited for it to begin, by use case.",
            buckets=SECONDS,
            labels=("batch",),
        )

    def __call__(
        self, run: Callable[[Sequence[C]], Sequence[R]], *, limits: BatchLimits | None = None
    ) -> Batcher[C, R]:
        """A batcher of its own for `run`."""
        name = type(run).__name__
        batcher = Batcher(
            in_thread(self._threads, run), limits=limits, meter=self._meter(name), name=name
        )
        self._vitals.workers[f"batch {len(self._vitals.workers) + 1} {name}"] = lambda: (
            batcher.busy_seconds
        )
        self._stack.push_async_callback(batcher.close)
        return batcher

    def alone(self, run: Callable[[C], R], *, places: Places | None = None) -> BoundedCalls[C, R]:
        """Calls of `run` one by one, few at a time, so that the batchers keep threads."""
        return BoundedCalls(self._threads, run, places=places)

    def _meter(self, name: str) -> BatchMeter | None:
        if self._sizes is None or self._waits is None:
            return None
        size, wait = self._sizes.labels(name).observe, self._waits.labels(name).observe

        def meter(commands: int, seconds: float) -> None:
            size(commands)
            wait(seconds)

        return meter

    def later(self, work: Callable[[], None]) -> None:
        """Have `work` done in one of the threads, for nobody who waits; its error is logged."""
        self._threads.submit(work).add_done_callback(_report)


def _report(done: Future[None]) -> None:
    if error := done.exception():
        _log.error("work in the background failed", exc_info=error)


@asynccontextmanager
async def batcher_factory(
    *, threads: int, vitals: Vitals | None = None
) -> AsyncIterator[BatcherFactory]:
    """A factory of batchers; leaving runs what waits in them."""
    with ThreadPoolExecutor(threads, thread_name_prefix="batch") as pool:
        async with AsyncExitStack() as stack:
            yield BatcherFactory(pool, stack, vitals or Vitals())
