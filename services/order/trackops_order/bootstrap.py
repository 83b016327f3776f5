"""Where the order service's ports meet Postgres, Redis and gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

from trackops.order.v1 import order_saga_service_pb2, order_service_pb2
from trackops_common.batching import Batcher, in_thread
from trackops_common.clock import SystemClock
from trackops_common.database import Database
from trackops_common.grpc.endpoints import RpcService
from trackops_common.grpc.server import Application, wait_for_dependency
from trackops_common.housekeeping import housekeeping
from trackops_common.settings import ServiceSettings
from trackops_common.topics import ORDER_EVENTS

from trackops_order.adapters.encoding import encode_changed, encode_created, encode_found
from trackops_order.adapters.postgres import PostgresOrderReader, PostgresUnitOfWorkFactory
from trackops_order.adapters.redis_cache import RedisOrderCache
from trackops_order.application.change_orders import ChangeOrders
from trackops_order.application.close_orders import CloseOrders
from trackops_order.application.confirm_orders import ConfirmOrders
from trackops_order.application.create_orders import CreateOrders
from trackops_order.application.get_orders import GetOrders
from trackops_order.application.get_timelines import GetTimelines
from trackops_order.entrypoints.errors import order_failure
from trackops_order.entrypoints.order_saga_servicer import OrderSagaServicer
from trackops_order.entrypoints.order_servicer import OrderServicer

__all__ = ["OrderSettings", "bootstrap"]


class OrderSettings(ServiceSettings):
    """Settings of the order service."""

    redis_url: str
    """`redis://host:port/database`."""
    order_events_topic: str = ORDER_EVENTS.name


@asynccontextmanager
async def bootstrap(settings: OrderSettings) -> AsyncIterator[Application]:
    """The order service, built and ready; leaving finishes what waits in its batchers."""
    async with AsyncExitStack() as stack:
        database = Database(
            settings.database_url.get_secret_value(),
            application_name="trackops_order",
            pool_size=settings.database_pool_size,
        )
        stack.callback(database.close)
        await wait_for_dependency(
            "Postgres", database.check, timeout_seconds=settings.start_timeout_seconds
        )
        keeper = await stack.enter_async_context(
            housekeeping(database, request_retention_days=settings.request_retention_days)
        )
        cache = RedisOrderCache(settings.redis_url)
        stack.callback(cache.close)
        services = await _build_services(settings, database, cache, stack)
        yield Application(services, background=[keeper])


async def _build_services(
    settings: OrderSettings, database: Database, cache: RedisOrderCache, stack: AsyncExitStack
) -> list[RpcService]:
    clock = SystemClock()
    unit_of_work = PostgresUnitOfWorkFactory(database, events_topic=settings.order_events_topic)
    reader = PostgresOrderReader(database)
    change_orders = ChangeOrders(unit_of_work, cache, encode_changed, clock)
    threads = stack.enter_context(
        ThreadPoolExecutor(settings.database_pool_size, thread_name_prefix="batch")
    )

    creations = Batcher(in_thread(threads, CreateOrders(unit_of_work, encode_created, clock)))
    reads = Batcher(in_thread(threads, GetOrders(reader, cache, encode_found)))
    timelines = Batcher(in_thread(threads, GetTimelines(reader)))
    confirmations = Batcher(in_thread(threads, ConfirmOrders(change_orders)))
    closures = Batcher(in_thread(threads, CloseOrders(change_orders)))
    for batcher in (creations, reads, timelines, confirmations, closures):
        stack.push_async_callback(batcher.close)

    return [
        RpcService(
            order_service_pb2.DESCRIPTOR.services_by_name["OrderService"],
            OrderServicer(creations, reads, timelines),
            order_failure,
        ),
        RpcService(
            order_saga_service_pb2.DESCRIPTOR.services_by_name["OrderSagaService"],
            OrderSagaServicer(confirmations, closures),
            order_failure,
        ),
    ]
