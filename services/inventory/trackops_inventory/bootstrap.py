"""Where the inventory service's ports meet Postgres and gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trackops.inventory.v1 import inventory_service_pb2

from trackops_common.clock import SystemClock
from trackops_common.database import Database
from trackops_common.grpc.endpoints import RpcService
from trackops_common.grpc.server import Application
from trackops_common.hosting import BatcherFactory, batcher_factory, own_database
from trackops_common.settings import ServiceSettings
from trackops_common.topics import INVENTORY_EVENTS
from trackops_inventory.adapters.encoding import encode_adjusted, encode_reservation
from trackops_inventory.adapters.postgres import PostgresStockReader, PostgresUnitOfWorkFactory
from trackops_inventory.application.adjust_stock import AdjustStockLevels
from trackops_inventory.application.get_stock import GetStock
from trackops_inventory.application.release_stock import ReleaseStockForOrders
from trackops_inventory.application.reserve_stock import ReserveStockForOrders
from trackops_inventory.entrypoints.errors import inventory_failure
from trackops_inventory.entrypoints.inventory_servicer import InventoryServicer

__all__ = ["InventorySettings", "bootstrap"]


class InventorySettings(ServiceSettings):
    """Settings of the inventory service."""

    inventory_events_topic: str = INVENTORY_EVENTS.name


@asynccontextmanager
async def bootstrap(settings: InventorySettings) -> AsyncIterator[Application]:
    """The inventory service, built and ready; leaving finishes what waits in its batchers."""
    async with (
        own_database(settings, application_name="trackops_inventory") as (database, keeper),
        batcher_factory(threads=settings.database_pool_size) as batcher,
    ):
        servicer = _build_servicer(settings, database, batcher)
        service = RpcService(
            inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"],
            servicer,
            inventory_failure,
        )
        yield Application([service], background=[keeper])


def _build_servicer(
    settings: InventorySettings, database: Database, batcher: BatcherFactory
) -> InventoryServicer:
    clock = SystemClock()
    unit_of_work = PostgresUnitOfWorkFactory(database, events_topic=settings.inventory_events_topic)
    return InventoryServicer(
        adjustments=batcher(AdjustStockLevels(unit_of_work, encode_adjusted)),
        reservations=batcher(ReserveStockForOrders(unit_of_work, encode_reservation, clock)),
        releases=batcher(ReleaseStockForOrders(unit_of_work, encode_reservation, clock)),
        reads=batcher(GetStock(PostgresStockReader(database))),
    )
