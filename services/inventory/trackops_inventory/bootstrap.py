"""Where the inventory service's ports meet Postgres and gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import Field
from trackops.inventory.v1 import inventory_service_pb2

from trackops_common.background import in_batches, running
from trackops_common.grpc.endpoints import RpcService
from trackops_common.grpc.server import Application
from trackops_common.hosting import BatcherFactory, batcher_factory, own_database
from trackops_common.settings import ServiceSettings
from trackops_common.topics import INVENTORY_EVENTS
from trackops_common.vitals import Vitals
from trackops_inventory.adapters.encoding import encode_adjusted, encode_reservation
from trackops_inventory.adapters.postgres import PostgresStockReader, PostgresUnitOfWorkFactory
from trackops_inventory.application.adjust_stock import AdjustStockLevels
from trackops_inventory.application.change_reservations import ChangeReservations
from trackops_inventory.application.commit_stock import CommitStockForOrders
from trackops_inventory.application.expire_reservations import ExpireReservations
from trackops_inventory.application.get_stock import GetStock
from trackops_inventory.application.ports import StockReader, UnitOfWorkFactory
from trackops_inventory.application.release_stock import ReleaseStockForOrders
from trackops_inventory.application.reserve_stock import ReserveStockForOrders
from trackops_inventory.application.restock_items import RestockItemsOfOrders
from trackops_inventory.entrypoints.errors import inventory_failure
from trackops_inventory.entrypoints.inventory_servicer import InventoryServicer

__all__ = ["InventorySettings", "bootstrap"]


class InventorySettings(ServiceSettings):
    """Settings of the inventory service."""

    inventory_events_topic: str = INVENTORY_EVENTS.name
    """Where stock's and reservations' changes go."""
    expiry_interval_seconds: Annotated[float, Field(gt=0)] = 1.0
    """How often reservations whose time is over are looked for; so much later they are freed."""


@asynccontextmanager
async def bootstrap(settings: InventorySettings) -> AsyncIterator[Application]:
    """The inventory service, built and ready; leaving finishes what waits in its batchers."""
    vitals = Vitals.of(settings)
    async with (
        own_database(settings, application_name="trackops_inventory", vitals=vitals) as (
            database,
            keeper,
        ),
        batcher_factory(threads=settings.database_pool_size, vitals=vitals) as batcher,
    ):
        unit_of_work = PostgresUnitOfWorkFactory(
            database, events_topic=settings.inventory_events_topic
        )
        expiry = in_batches(
            ExpireReservations(unit_of_work),
            what="reservations expired",
            interval_seconds=settings.expiry_interval_seconds,
        )
        service = RpcService(
            inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"],
            _build_servicer(unit_of_work, PostgresStockReader(database), batcher),
            inventory_failure,
        )
        async with running({"expiry": expiry}) as loops:
            yield Application(
                [service],
                background=[keeper, *loops],
                dependencies={"Postgres": database.check},
                vitals=vitals,
            )


def _build_servicer(
    unit_of_work: UnitOfWorkFactory, reader: StockReader, batcher: BatcherFactory
) -> InventoryServicer:
    change_reservations = ChangeReservations(unit_of_work, encode_reservation)
    return InventoryServicer(
        adjustments=batcher(AdjustStockLevels(unit_of_work, encode_adjusted)),
        reservations=batcher(ReserveStockForOrders(unit_of_work, encode_reservation)),
        releases=batcher(ReleaseStockForOrders(unit_of_work, encode_reservation)),
        commits=batcher(CommitStockForOrders(change_reservations)),
        restocks=batcher(RestockItemsOfOrders(change_reservations)),
        reads=batcher(GetStock(reader)),
    )
