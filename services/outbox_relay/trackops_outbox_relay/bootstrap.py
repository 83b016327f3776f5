"""Where the relay's ports meet Kafka, Postgres and gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from trackops.relay.v1 import relay_service_pb2

from trackops_common import background, kafka
from trackops_common.database import Database
from trackops_common.grpc.endpoints import RpcService
from trackops_common.grpc.server import Application, wait_for_dependency
from trackops_outbox_relay.adapters.checkpoints import KafkaCheckpoints
from trackops_outbox_relay.adapters.leases import GroupLeases, SourceLease
from trackops_outbox_relay.adapters.postgres import PostgresKnownSources, PostgresOutboxes
from trackops_outbox_relay.adapters.publisher import KafkaPublishers
from trackops_outbox_relay.adapters.wake_ups import PostgresWakeUps
from trackops_outbox_relay.application.get_checkpoint import GetCheckpoint
from trackops_outbox_relay.application.list_sources import ListSources
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.application.relay_source import Pace, RelaySource
from trackops_outbox_relay.application.start_source import StartSource
from trackops_outbox_relay.entrypoints.errors import relay_failure
from trackops_outbox_relay.entrypoints.relay_servicer import RelayServicer
from trackops_outbox_relay.settings import RelaySettings

__all__ = ["bootstrap"]

_QUERIES_PER_SECOND_AT_REST = 4


@asynccontextmanager
async def bootstrap(settings: RelaySettings) -> AsyncIterator[Application]:
    """The relay, a member of its group; leaving finishes the transactions that are open."""
    async with AsyncExitStack() as stack:
        database = Database(
            settings.database_url.get_secret_value(),
            application_name="trackops_outbox_relay",
            pool_size=max(settings.database_pool_size, len(settings.sources) + 2),
        )
        stack.callback(database.close)
        outboxes = PostgresOutboxes(database, settings.sources)
        partitions = await _wait_for_dependencies(settings, database, outboxes)
        relay = _build(settings, database, outboxes, partitions, stack)
        loops = {"leases": relay.leases.run, "wake-ups": relay.wake_ups.run}
        tasks = await stack.enter_async_context(background.running(loops))
        yield Application([relay.rpc_service], background=tasks)


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
        found.update(kafka.check_topics(settings.kafka_bootstrap_servers, [topic]))

    await wait_for_dependency("Kafka", check, timeout_seconds=patience)
    return found[topic]


@dataclass(frozen=True)
class _Relay:
    leases: GroupLeases
    wake_ups: PostgresWakeUps
    rpc_service: RpcService


def _build(
    settings: RelaySettings,
    database: Database,
    outboxes: PostgresOutboxes,
    partitions: int,
    stack: AsyncExitStack,
) -> _Relay:
    servers, topic = settings.kafka_bootstrap_servers, settings.checkpoint_topic
    checkpoints = KafkaCheckpoints(servers, topic=topic, partitions=partitions)
    publishers = KafkaPublishers(servers, checkpoint_topic=topic, partitions=partitions)
    start_source = StartSource(checkpoints, PostgresKnownSources(database))
    wake_ups = PostgresWakeUps(settings.database_url.get_secret_value(), settings.sources)
    progress = Progress()
    pace = _pace(settings)
    reader = stack.enter_context(ThreadPoolExecutor(len(settings.sources), "read-ahead"))

    def work(lease: SourceLease) -> None:
        with progress.leased(lease.source):
            RelaySource(
                lease,
                outbox=outboxes.of(lease.source),
                publishers=publishers,
                start_source=start_source,
                wake_up=wake_ups.of(lease.source),
                progress=progress,
                pace=pace,
                reader=reader,
            ).run()

    leases = GroupLeases(
        servers,
        group=settings.relay_group,
        topic=topic,
        partitions=partitions,
        sources=settings.sources,
        work=work,
        on_end=lambda source: wake_ups.of(source).ring(),
    )
    return _Relay(leases, wake_ups, _rpc_service(settings, progress, checkpoints, outboxes))


def _pace(settings: RelaySettings) -> Pace:
    return Pace(
        batch_rows=settings.relay_batch_rows,
        transaction_seconds=settings.relay_transaction_seconds,
        longest_poll_seconds=max(1.0, len(settings.sources) / _QUERIES_PER_SECOND_AT_REST),
    )


def _rpc_service(
    settings: RelaySettings,
    progress: Progress,
    checkpoints: KafkaCheckpoints,
    outboxes: PostgresOutboxes,
) -> RpcService:
    get_checkpoint = GetCheckpoint(settings.sources, progress, checkpoints)
    list_sources = ListSources(get_checkpoint, progress, outboxes)
    return RpcService(
        relay_service_pb2.DESCRIPTOR.services_by_name["RelayService"],
        RelayServicer(get_checkpoint, list_sources),
        relay_failure,
    )
