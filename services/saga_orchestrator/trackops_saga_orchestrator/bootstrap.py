"""Where the orchestrator's ports meet Postgres, Kafka and the participants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from trackops.saga.v1 import saga_service_pb2

from trackops_common import dead_letters
from trackops_common.background import Loop, in_batches, running
from trackops_common.database import Database
from trackops_common.grpc.channels import open_channel
from trackops_common.grpc.endpoints import RpcService
from trackops_common.grpc.server import Application, wait_for_dependency
from trackops_common.hosting import (
    BatcherFactory,
    batcher_factory,
    outbox_retention,
    show_dead_letters,
    show_lag,
    show_pool,
)
from trackops_common.housekeeping import housekeeping
from trackops_common.inbox import DeadLetterPolicy, Inbox, InboxSettings
from trackops_common.inbox_lag import InboxLag
from trackops_common.kafka import check_topics
from trackops_common.kafka_settings import KafkaSettings
from trackops_common.mesh_identity import ServiceTokens
from trackops_common.revisions import needed_revision
from trackops_common.settings import ServiceSettings
from trackops_common.topics import ORDER_EVENTS, SAGA_DEAD_LETTERS, SAGA_RETRIES
from trackops_common.vitals import Sampled, Vitals
from trackops_saga_orchestrator.adapters.census import PostgresCensus
from trackops_saga_orchestrator.adapters.participants import grpc_participants
from trackops_saga_orchestrator.adapters.postgres import (
    PostgresNewSagas,
    PostgresSagaReader,
    PostgresSagaStore,
)
from trackops_saga_orchestrator.adapters.postgres_clock import PostgresClock
from trackops_saga_orchestrator.adapters.steering import postgres_saga_work
from trackops_saga_orchestrator.application.check_definitions import check_definitions
from trackops_saga_orchestrator.application.engine import Engine
from trackops_saga_orchestrator.application.limits import EngineLimits
from trackops_saga_orchestrator.application.ports import Participants
from trackops_saga_orchestrator.application.show_sagas import GetSaga, ListSagas
from trackops_saga_orchestrator.application.start_by_hand import StartSagasByHand
from trackops_saga_orchestrator.application.start_sagas import StartedSaga, StartSagas
from trackops_saga_orchestrator.application.steer_many import SteerManySagas
from trackops_saga_orchestrator.application.steer_sagas import Steering, SteerSagas
from trackops_saga_orchestrator.domain.definitions import DEFINITIONS
from trackops_saga_orchestrator.entrypoints.errors import saga_failure
from trackops_saga_orchestrator.entrypoints.numbers import show_census, show_engine
from trackops_saga_orchestrator.entrypoints.operator_converters import encode_saga, encode_steered
from trackops_saga_orchestrator.entrypoints.order_events import OrderEvents
from trackops_saga_orchestrator.entrypoints.saga_servicer import OperatorCommands, SagaServicer

__all__ = ["SagaSettings", "bootstrap"]

_SCHEMA = "trackops_saga_orchestrator"
_FORGET_EVERY_SECONDS = 600.0
_FORGET_AT_ONCE = 1000


class SagaSettings(KafkaSettings, ServiceSettings):
    """Settings of the orchestrator."""

    inventory_target: str
    """`host:port` or any name that gRPC resolves."""
    payment_target: str
    """As `inventory_target`."""
    order_target: str
    """As `inventory_target`."""
    order_events_topic: str = ORDER_EVENTS.name
    """What starts sagas and what they wait for."""
    order_events_consumer: str = "trackops_saga_orchestrator"
    """Consumer group, and the key of its positions."""
    consumer_instance_id: str = ""
    """Stable name of this replica, one for each (that of a StatefulSet's pod, say): a restart
    within 6 seconds then moves no partition. Empty: partitions move at each stop and start."""
    dead_letters_topic: str = SAGA_DEAD_LETTERS.name
    """Where messages go that cannot be handled."""
    retries_topic: str = SAGA_RETRIES.name
    """Where they come from when an operator replays them."""
    dead_letter_limit: int = 20
    """More than these among `dead_letter_window` messages of a partition stop the service, as
    a fault of its version rather than of single messages."""
    dead_letter_window: int = 1_000
    """Messages of a partition among which dead letters are counted."""
    event_retention_days: int = 30
    """How long an event that a saga may wait for is remembered, at least."""
    lease_seconds: float = 10.0
    """How long a saga stays with a replica that gives no sign of life."""
    max_sagas_in_memory: int = 2000
    """No further order events are taken above it."""
    max_participant_batch: int = 256
    """Commands in one call to a participant."""
    calls_per_action: int = 2
    """Calls of one action that are in the air at a time."""

    @property
    def inbox(self) -> InboxSettings:
        return InboxSettings(
            kafka=self.kafka,
            consumer=self.order_events_consumer,
            topics=[self.order_events_topic],
            instance_id=self.consumer_instance_id,
            dead_letters=DeadLetterPolicy(
                topic=self.dead_letters_topic,
                retries_topic=self.retries_topic,
                limit=self.dead_letter_limit,
                window=self.dead_letter_window,
            ),
        )

    @property
    def engine_limits(self) -> EngineLimits:
        return EngineLimits(
            lease_seconds=self.lease_seconds,
            max_batch=self.max_participant_batch,
            calls_per_action=self.calls_per_action,
            max_in_memory=self.max_sagas_in_memory,
        )


@asynccontextmanager
async def bootstrap(settings: SagaSettings) -> AsyncIterator[Application]:
    """The orchestrator at work; leaving stops the consumer, then gives the sagas up."""
    vitals = Vitals.of(settings)
    async with AsyncExitStack() as stack:
        tokens = ServiceTokens(settings)
        database = await _open_database(settings, stack, vitals)
        keeper = await stack.enter_async_context(
            housekeeping(
                database,
                request_retention_days=settings.request_retention_days,
                outbox_retention=outbox_retention(settings, source=_SCHEMA, token=tokens.get),
            )
        )
        await _wait_for_topics(settings)
        threads = stack.enter_context(
            ThreadPoolExecutor(settings.database_pool_size, thread_name_prefix="store")
        )
        clock = PostgresClock(database)
        store = PostgresSagaStore(database, clock)
        await asyncio.to_thread(_refuse_orphans, store, clock)
        await wait_for_dependency(
            "identity",
            tokens.check,
            timeout_seconds=settings.start_timeout_seconds,
            pause_seconds=0.5,
        )
        participants = await _open_participants(settings, stack, tokens)
        engine = Engine(
            DEFINITIONS, store, participants, clock, threads, limits=settings.engine_limits
        )
        engine_task = await stack.enter_async_context(_at_work(engine))
        loops = await stack.enter_async_context(
            running(
                {
                    "forget-events": _forgetting(settings, store),
                    "service-token": tokens.run,
                    **_loops(settings, database, engine, clock, vitals),
                }
            )
        )
        batcher = await stack.enter_async_context(batcher_factory(threads=1, vitals=vitals))
        commands = _operator_commands(database, clock, batcher)
        service = _build_service(database, threads, commands, engine)
        yield Application(
            [service],
            background=[engine_task, keeper, *loops],
            dependencies={"Postgres": database.check},
            vitals=vitals,
        )


async def _open_database(settings: SagaSettings, stack: AsyncExitStack, vitals: Vitals) -> Database:
    database = Database(
        settings.database_url.get_secret_value(),
        application_name=_SCHEMA,
        pool_size=settings.database_pool_size + 3,
        needed_revision=needed_revision(_SCHEMA),
    )
    show_pool(vitals, database)
    stack.callback(database.close)
    await wait_for_dependency(
        "Postgres", database.check, timeout_seconds=settings.start_timeout_seconds
    )
    return database


async def _wait_for_topics(settings: SagaSettings) -> None:
    topics = [settings.order_events_topic, settings.dead_letters_topic, settings.retries_topic]

    def check() -> None:
        check_topics(settings.kafka, topics)

    await wait_for_dependency("Kafka", check, timeout_seconds=settings.start_timeout_seconds)


def _refuse_orphans(store: PostgresSagaStore, clock: PostgresClock) -> None:
    clock.synchronise()
    check_definitions(DEFINITIONS, store)


async def _open_participants(
    settings: SagaSettings, stack: AsyncExitStack, tokens: ServiceTokens
) -> Participants:
    targets = (settings.inventory_target, settings.payment_target, settings.order_target)
    channels = [
        await stack.enter_async_context(open_channel(target, settings.tls)) for target in targets
    ]
    return grpc_participants(
        inventory_channel=channels[0],
        payment_channel=channels[1],
        order_channel=channels[2],
        token=tokens.at_hand,
    )


@asynccontextmanager
async def _at_work(engine: Engine) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(engine.run(), name="engine")
    try:
        yield task
    finally:
        engine.stop()
        await asyncio.wait([task])


def _forgetting(settings: SagaSettings, store: PostgresSagaStore) -> Loop:
    forget = partial(
        store.forget_events, older_than_days=settings.event_retention_days, limit=_FORGET_AT_ONCE
    )
    return in_batches(forget, what="old events forgotten", interval_seconds=_FORGET_EVERY_SECONDS)


def _loops(
    settings: SagaSettings,
    database: Database,
    engine: Engine,
    clock: PostgresClock,
    vitals: Vitals,
) -> Mapping[str, Loop]:
    show_engine(vitals, engine, DEFINITIONS)
    if vitals.registry is None:
        return {"order-events": _build_inbox(settings, database, engine, clock, None).run}
    lag, census = InboxLag(), Sampled(PostgresCensus(database))
    group = settings.inbox.consumer
    dead = Sampled(partial(dead_letters.waiting, database, group))
    show_lag(vitals, lag, group=group)
    show_dead_letters(vitals, dead, group=group)
    show_census(vitals, census, DEFINITIONS)
    return {
        "order-events": _build_inbox(settings, database, engine, clock, lag).run,
        "census": census.run,
        "dead-letters": dead.run,
    }


def _build_inbox(
    settings: SagaSettings,
    database: Database,
    engine: Engine,
    clock: PostgresClock,
    lag: InboxLag | None,
) -> Inbox:
    handler = OrderEvents(
        DEFINITIONS,
        StartSagas(clock, settings.lease_seconds),
        PostgresNewSagas,
        _hand_over(engine, asyncio.get_running_loop()),
    )
    return Inbox(settings.inbox, database, handler, lag=lag)


def _hand_over(
    engine: Engine, loop: asyncio.AbstractEventLoop
) -> Callable[[Sequence[StartedSaga]], Future[None]]:
    """Not done while the engine is full."""

    def hand_over(started: Sequence[StartedSaga]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(engine.admit(started), loop)

    return hand_over


def _operator_commands(
    database: Database, clock: PostgresClock, batcher: BatcherFactory
) -> OperatorCommands:
    work = postgres_saga_work(database)
    steering = Steering(DEFINITIONS, clock)
    return OperatorCommands(
        steer=batcher(SteerSagas(work, steering, encode_saga)),
        steer_many=batcher(SteerManySagas(work, steering, encode_steered)),
        start=batcher(StartSagasByHand(work, clock, encode_saga)),
    )


def _build_service(
    database: Database, threads: Executor, commands: OperatorCommands, engine: Engine
) -> RpcService:
    reader = PostgresSagaReader(database)
    return RpcService(
        saga_service_pb2.DESCRIPTOR.services_by_name["SagaService"],
        SagaServicer(
            GetSaga(reader), ListSagas(reader), threads, commands, lambda: engine.participants
        ),
        saga_failure,
    )
