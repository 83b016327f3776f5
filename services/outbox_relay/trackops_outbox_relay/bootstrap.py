"""Where the relay's ports meet Kafka, Postgres and gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from trackops.relay.v1 import relay_service_pb2

from trackops_common import background, kafka
from trackops_common.clock import SystemClock
from trackops_common.database import Database
from trackops_common.grpc.endpoints import RpcService
from trackops_common.grpc.server import Application, wait_for_dependency
from trackops_common.hosting import show_pool
from trackops_common.revisions import needed_revision
from trackops_common.vitals import Sampled, Vitals
from trackops_outbox_relay.adapters.checkpoints import KafkaCheckpoints
from trackops_outbox_relay.adapters.event_log import KafkaEventLog
from trackops_outbox_relay.adapters.leases import GroupLeases, SourceLease, Work
from trackops_outbox_relay.adapters.operations import PostgresOperations
from trackops_outbox_relay.adapters.postgres import PostgresKnownSources, PostgresOutboxes
from trackops_outbox_relay.adapters.publisher import KafkaPublishers
from trackops_outbox_relay.adapters.wake_ups import PostgresWakeUps
from trackops_outbox_relay.application.get_checkpoint import GetCheckpoint
from trackops_outbox_relay.application.list_events import ListEvents
from trackops_outbox_relay.application.list_operations import ListOperations
from trackops_outbox_relay.application.list_quarantine import ListQuarantine
from trackops_outbox_relay.application.list_sources import ListSources
from trackops_outbox_relay.application.measure_sources import MeasureSources
from trackops_outbox_relay.application.operate import Operate
from trackops_outbox_relay.application.order_operation import OrderOperation
from trackops_outbox_relay.application.plan_rebase import PlanRebase
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.application.rebase_source import RebaseSource
from trackops_outbox_relay.application.relay_source import Pace, RelaySource
from trackops_outbox_relay.application.release_quarantine import ReleaseQuarantine
from trackops_outbox_relay.application.start_source import StartSource
from trackops_outbox_relay.entrypoints.errors import relay_failure
from trackops_outbox_relay.entrypoints.numbers import publish_meter, show_sources
from trackops_outbox_relay.entrypoints.relay_servicer import RelayServicer
from trackops_outbox_relay.settings import RelaySettings

__all__ = ["bootstrap"]

_QUERIES_PER_SECOND_AT_REST = 4
_POLLS_TO_A_LOOK = 5
"""Polls of an idle outbox to each look for operations that nobody has told of."""


@asynccontextmanager
async def bootstrap(settings: RelaySettings) -> AsyncIterator[Application]:
    """The relay, a member of its group; leaving finishes the transactions that are open."""
    vitals = Vitals.of(settings)
    async with AsyncExitStack() as stack:
        database = Database(
            settings.database_url.get_secret_value(),
            application_name="trackops_outbox_relay",
            pool_size=max(settings.database_pool_size, len(settings.sources) + 2),
            needed_revision=needed_revision("trackops_outbox_relay"),
        )
        show_pool(vitals, database)
        stack.callback(database.close)
        outboxes = PostgresOutboxes(database, settings.sources)
        partitions = await _wait_for_dependencies(settings, database, outboxes)
        relay = _build(settings, database, outboxes, partitions, stack, vitals)
        loops: dict[str, background.Loop] = {
            "leases": relay.leases.run,
            "wake-ups": relay.wake_ups.run,
        }
        if vitals.registry is not None:
            numbers = Sampled(relay.measure)
            show_sources(vitals, numbers, settings.sources)
            loops["numbers"] = numbers.run
        tasks = await stack.enter_async_context(background.running(loops))
        yield Application(
            [relay.rpc_service],
            background=tasks,
            dependencies={"Postgres": database.check, "Kafka": relay.checkpoints.check},
            vitals=vitals,
        )


async def _wait_for_dependencies(
    settings: RelaySettings, database: Database, outboxes: PostgresOutboxes
) -> int:
    """The number of the checkpoint topic's partitions, once everything answers."""
    patience = settings.start_timeout_seconds
    topic = settings.checkpoint_topic
    await wait_for_dependency("Postgres", database.check, timeout_seconds=patience)
    await wait_for_dependency("outboxes", outboxes.check, timeout_seconds=patience)
    found: dict[str, int] = {}

    def check() -> None:
        found.update(kafka.check_topics(settings.kafka, [topic]))

    await wait_for_dependency("Kafka", check, timeout_seconds=patience)
    return found[topic]


@dataclass(frozen=True)
class _Relay:
    leases: GroupLeases
    wake_ups: PostgresWakeUps
    checkpoints: KafkaCheckpoints
    measure: MeasureSources
    rpc_service: RpcService


@dataclass(frozen=True)
class _Adapters:
    """What the use cases share, but for what belongs to one lease."""

    settings: RelaySettings
    outboxes: PostgresOutboxes
    checkpoints: KafkaCheckpoints
    publishers: KafkaPublishers
    known_sources: PostgresKnownSources
    operations: PostgresOperations
    wake_ups: PostgresWakeUps
    log: KafkaEventLog
    plan_rebase: PlanRebase
    progress: Progress
    clock: SystemClock


def _build(
    settings: RelaySettings,
    database: Database,
    outboxes: PostgresOutboxes,
    partitions: int,
    stack: AsyncExitStack,
    vitals: Vitals,
) -> _Relay:
    adapters = _adapters(settings, database, outboxes, partitions, Progress(publish_meter(vitals)))
    measure = MeasureSources(settings.sources, adapters.progress, outboxes, adapters.clock)
    reader = stack.enter_context(ThreadPoolExecutor(len(settings.sources), "read-ahead"))
    leases = GroupLeases(
        settings.kafka,
        group=settings.relay_group,
        topic=settings.checkpoint_topic,
        partitions=partitions,
        sources=settings.sources,
        work=_work(adapters, reader),
        on_end=lambda source: adapters.wake_ups.of(source).ring(),
    )
    service = RpcService(
        relay_service_pb2.DESCRIPTOR.services_by_name["RelayService"],
        _servicer(adapters),
        relay_failure,
    )
    return _Relay(leases, adapters.wake_ups, adapters.checkpoints, measure, service)


def _adapters(
    settings: RelaySettings,
    database: Database,
    outboxes: PostgresOutboxes,
    partitions: int,
    progress: Progress,
) -> _Adapters:
    servers, topic = settings.kafka, settings.checkpoint_topic
    clock, log = SystemClock(), KafkaEventLog(servers)
    checkpoints = KafkaCheckpoints(servers, topic=topic, partitions=partitions)
    operations = PostgresOperations(
        database,
        settings.sources,
        look_every_seconds=_POLLS_TO_A_LOOK * _pace(settings).longest_poll_seconds,
    )
    return _Adapters(
        settings,
        outboxes,
        checkpoints,
        KafkaPublishers(
            servers,
            checkpoint_topic=topic,
            partitions=partitions,
            unknown_topic_seconds=settings.unknown_topic_seconds,
        ),
        PostgresKnownSources(database),
        operations,
        PostgresWakeUps(
            settings.database_url.get_secret_value(),
            settings.sources,
            on_operation=operations.tell,
        ),
        log,
        PlanRebase(settings.sources, outboxes, checkpoints, log, clock),
        progress,
        clock,
    )


def _work(adapters: _Adapters, reader: ThreadPoolExecutor) -> Work:
    """What is done in the thread of a lease."""
    checkpoints, known_sources = adapters.checkpoints, adapters.known_sources
    operations, progress = adapters.operations, adapters.progress
    rebase_source = RebaseSource(
        adapters.plan_rebase, adapters.publishers, checkpoints, known_sources, operations
    )

    def work(lease: SourceLease) -> None:
        outbox = adapters.outboxes.of(lease.source)
        release = ReleaseQuarantine(outbox, adapters.clock)
        with progress.leased(lease.source):
            RelaySource(
                lease,
                outbox=outbox,
                publishers=adapters.publishers,
                start_source=StartSource(checkpoints, known_sources),
                operate=Operate(operations, release, rebase_source, progress),
                wake_up=adapters.wake_ups.of(lease.source),
                progress=progress,
                pace=_pace(adapters.settings),
                reader=reader,
                clock=adapters.clock,
            ).run()

    return work


def _servicer(adapters: _Adapters) -> RelayServicer:
    sources = adapters.settings.sources
    get_checkpoint = GetCheckpoint(sources, adapters.progress, adapters.checkpoints)
    return RelayServicer(
        get_checkpoint,
        ListSources(get_checkpoint, adapters.progress, adapters.outboxes),
        ListQuarantine(get_checkpoint, adapters.outboxes),
        ListEvents(get_checkpoint, adapters.outboxes, adapters.log),
        ListOperations(sources, adapters.operations),
        adapters.plan_rebase,
        OrderOperation(sources, adapters.operations),
    )


def _pace(settings: RelaySettings) -> Pace:
    # Beside each source's polls there are the looks for operations.
    queries = len(settings.sources) * (1 + 1 / _POLLS_TO_A_LOOK)
    return Pace(
        batch_rows=settings.relay_batch_rows,
        transaction_seconds=settings.relay_transaction_seconds,
        longest_poll_seconds=max(1.0, queries / _QUERIES_PER_SECOND_AT_REST),
    )
