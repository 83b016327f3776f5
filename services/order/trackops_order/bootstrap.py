"""Where the order service's ports meet Postgres, Redis and gRPC."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Annotated

from pydantic import Field, SecretStr
from trackops.order.v1 import order_saga_service_pb2, order_service_pb2

from trackops_common.background import running
from trackops_common.batching import BatchLimits
from trackops_common.clock import SystemClock
from trackops_common.database import Database
from trackops_common.grpc.endpoints import RpcService
from trackops_common.grpc.server import Application
from trackops_common.hosting import BatcherFactory, batcher_factory, own_database
from trackops_common.kafka_settings import KafkaSettings
from trackops_common.page_tokens import PageTokens
from trackops_common.settings import ServerUrl, ServiceSettings
from trackops_common.topics import ORDER_EVENTS
from trackops_common.vitals import Vitals, one
from trackops_order.adapters.encoding import (
    customer_of_found,
    encode_changed,
    encode_created,
    encode_found,
    encode_page,
    encode_timeline,
    encode_watched,
)
from trackops_order.adapters.order_feed import FeedSettings, KafkaOrderFeed
from trackops_order.adapters.order_listings import PostgresOrderLister
from trackops_order.adapters.postgres import PostgresOrderReader, PostgresUnitOfWorkFactory
from trackops_order.adapters.redis_cache import RedisOrderCache
from trackops_order.application.cancel_orders import CancelOrders
from trackops_order.application.change_orders import ChangeOrders
from trackops_order.application.close_orders import CloseOrders
from trackops_order.application.confirm_orders import ConfirmOrders
from trackops_order.application.create_orders import CreateOrders
from trackops_order.application.deliver_orders import DeliverOrders
from trackops_order.application.get_orders import CacheUse, GetOrders
from trackops_order.application.get_timelines import GetTimelines
from trackops_order.application.list_orders import ListOrders
from trackops_order.application.return_orders import ReturnOrders
from trackops_order.application.ship_orders import ShipOrders
from trackops_order.application.update_order_statuses import UpdateOrderStatuses
from trackops_order.application.watch_orders import ReadChanges, WatchOrders
from trackops_order.entrypoints.errors import order_failure
from trackops_order.entrypoints.order_saga_servicer import OrderSagaServicer
from trackops_order.entrypoints.order_servicer import OrderServicer

__all__ = ["OrderSettings", "bootstrap"]

_MEAN_REFRESH_LEAD_SECONDS = 1.0
"""An order in 1,000 batches a second is then read anew about 7 s before the cache forgets it."""
_CREATIONS = BatchLimits(max_wait_seconds=0.5, retry_after_seconds=0.5)
"""Below the seconds that callers wait, so that what is accepted is answered in time."""


class OrderSettings(KafkaSettings, ServiceSettings):
    """Settings of the order service."""

    redis_url: ServerUrl
    """`redis://user:password@host:port/database`, or `rediss://` with `?ssl_ca_certs=<file>`."""
    order_events_topic: str = ORDER_EVENTS.name
    """Those who watch orders hear of changes from it; nothing else needs Kafka, and the service
    starts without it."""
    feed_linger_seconds: float = 5.0
    """How long order events are read on after the last watcher has left."""
    page_token_key: Annotated[SecretStr, Field(min_length=32)]
    """Signs page tokens; every replica has the same. A new one ends the listings under way."""
    clock_skew_seconds: float = 1.0
    """How far the clocks of replicas and of Postgres may be apart; listings that begin with the
    oldest order end that much before now."""


@asynccontextmanager
async def bootstrap(settings: OrderSettings) -> AsyncIterator[Application]:
    """The order service, built and ready; leaving finishes what waits in its batchers."""
    feed = _feed(settings)
    vitals = Vitals.of(settings)
    with closing(RedisOrderCache(settings.redis_url.get_secret_value())) as cache:
        async with (
            own_database(settings, application_name="trackops_order", vitals=vitals) as (
                database,
                keeper,
            ),
            batcher_factory(threads=settings.database_pool_size, vitals=vitals) as batcher,
            running({"order-cache": cache.keep, "order-feed": feed.run}) as loops,
        ):
            await asyncio.to_thread(cache.check)
            use = CacheUse()
            services = _build_services(settings, database, cache, batcher, feed, use)
            _show_cache(vitals, cache, use)
            yield Application(
                services,
                background=[keeper, *loops],
                dependencies={"Postgres": database.check},
                vitals=vitals,
            )


def _show_cache(vitals: Vitals, cache: RedisOrderCache, use: CacheUse) -> None:
    vitals.optional["Redis"] = lambda: cache.sound
    vitals.counter(
        "trackops_order_cache_lookups_total",
        "Orders that were looked up in the cache, by what came of it.",
        lambda: [(("hit",), use.hits), (("miss",), use.misses), (("stale",), use.stale)],
        labels=("outcome",),
    )
    vitals.counter(
        "trackops_order_cache_early_refreshes_total",
        "Hits that were read from Postgres too, before they expired.",
        lambda: one(use.early_refreshes),
    )
    vitals.counter(
        "trackops_order_cache_late_writes_total",
        "Orders that the cache did not take because it knew of something newer.",
        lambda: one(use.late_writes),
    )


def _build_services(
    settings: OrderSettings,
    database: Database,
    cache: RedisOrderCache,
    batcher: BatcherFactory,
    feed: KafkaOrderFeed,
    use: CacheUse,
) -> list[RpcService]:
    clock = SystemClock()
    unit_of_work = PostgresUnitOfWorkFactory(database, events_topic=settings.order_events_topic)
    reader = PostgresOrderReader(database)
    change_orders = ChangeOrders(unit_of_work, cache, feed, encode_changed, clock)

    creations = batcher(CreateOrders(unit_of_work, cache, encode_created, clock), limits=_CREATIONS)
    reads = batcher(
        GetOrders(
            reader,
            cache,
            encode_found,
            customer_of_found,
            batcher.later,
            _refresh_lead_seconds,
            use,
        )
    )
    timelines = batcher(GetTimelines(reader, encode_timeline))
    confirmations = batcher(ConfirmOrders(change_orders))
    closures = batcher(CloseOrders(change_orders))
    cancellations = batcher(CancelOrders(change_orders))
    shipments = batcher(ShipOrders(change_orders))
    deliveries = batcher(DeliverOrders(change_orders))
    returns = batcher(ReturnOrders(change_orders))
    updates = batcher(UpdateOrderStatuses(change_orders))
    listings = batcher.alone(_list_orders(settings, database))
    # Every stream may have to read at the same moment, when the feed has lost its place.
    changes = batcher(
        ReadChanges(reader, encode_watched), limits=BatchLimits(max_waiting=settings.max_streams)
    )

    return [
        RpcService(
            order_service_pb2.DESCRIPTOR.services_by_name["OrderService"],
            OrderServicer(
                creations,
                reads,
                timelines,
                cancellations,
                shipments,
                deliveries,
                returns,
                updates,
                listings,
                WatchOrders(feed, changes.submit),
            ),
            order_failure,
            doors=dict.fromkeys(("CreateOrder", "BatchCreateOrders"), creations.expect_room),
        ),
        RpcService(
            order_saga_service_pb2.DESCRIPTOR.services_by_name["OrderSagaService"],
            OrderSagaServicer(confirmations, closures),
            order_failure,
        ),
    ]


def _refresh_lead_seconds() -> float:
    return random.expovariate(1 / _MEAN_REFRESH_LEAD_SECONDS)


def _list_orders(settings: OrderSettings, database: Database) -> ListOrders:
    lister = PostgresOrderLister(database, clock_skew_seconds=settings.clock_skew_seconds)
    tokens = PageTokens(settings.page_token_key.get_secret_value().encode())
    return ListOrders(lister, tokens, encode_page)


def _feed(settings: OrderSettings) -> KafkaOrderFeed:
    return KafkaOrderFeed(
        FeedSettings(
            kafka=settings.kafka,
            topic=settings.order_events_topic,
            linger_seconds=settings.feed_linger_seconds,
        )
    )
