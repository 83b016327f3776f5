"""`trackops.inventory.v1.InventoryService`."""

from __future__ import annotations

from dataclasses import dataclass

from trackops.inventory.v1 import inventory_service_pb2

from trackops_common.auth import principal_of
from trackops_common.batching import Batcher
from trackops_common.grpc.endpoints import Context, Encoded, batch_results, unwrap
from trackops_inventory.application.adjust_stock import AdjustStock, AdjustStockOutcome
from trackops_inventory.application.release_stock import ReleaseStock, ReleaseStockOutcome
from trackops_inventory.application.reserve_stock import ReserveStock, ReserveStockOutcome
from trackops_inventory.domain.errors import SkuNotFound
from trackops_inventory.domain.stock import StockLevel
from trackops_inventory.entrypoints.converters import (
    adjust_command,
    release_command,
    reserve_command,
    stock_message,
)
from trackops_inventory.entrypoints.errors import inventory_failure

__all__ = ["InventoryServicer"]


@dataclass(frozen=True)
class InventoryServicer:
    """Answers InventoryService; the contract's comments say what each RPC promises."""

    adjustments: Batcher[AdjustStock, AdjustStockOutcome]
    reservations: Batcher[ReserveStock, ReserveStockOutcome]
    releases: Batcher[ReleaseStock, ReleaseStockOutcome]
    reads: Batcher[str, StockLevel | SkuNotFound]

    async def AdjustStock(
        self, request: inventory_service_pb2.AdjustStockRequest, context: Context
    ) -> Encoded:
        command = adjust_command(request, principal_of(context))
        return unwrap(
            await self.adjustments.submit(command, timeout_seconds=context.time_remaining())
        )

    async def BatchAdjustStock(
        self, request: inventory_service_pb2.BatchAdjustStockRequest, context: Context
    ) -> inventory_service_pb2.BatchAdjustStockResponse:
        principal = principal_of(context)
        outcomes = await self.adjustments.submit_all(
            [adjust_command(one, principal) for one in request.requests],
            timeout_seconds=context.time_remaining(),
        )
        return inventory_service_pb2.BatchAdjustStockResponse(
            results=batch_results(
                outcomes,
                inventory_service_pb2.AdjustStockResult,
                inventory_service_pb2.AdjustStockResponse,
                inventory_failure,
            )
        )

    async def BatchGetStock(
        self, request: inventory_service_pb2.BatchGetStockRequest, context: Context
    ) -> inventory_service_pb2.BatchGetStockResponse:
        found = await self.reads.submit_all(
            list(request.skus), timeout_seconds=context.time_remaining()
        )
        return stock_message(level for level in found if isinstance(level, StockLevel))

    async def ReserveStock(
        self, request: inventory_service_pb2.ReserveStockRequest, context: Context
    ) -> Encoded:
        command = reserve_command(request, principal_of(context))
        return unwrap(
            await self.reservations.submit(command, timeout_seconds=context.time_remaining())
        )

    async def BatchReserveStock(
        self, request: inventory_service_pb2.BatchReserveStockRequest, context: Context
    ) -> inventory_service_pb2.BatchReserveStockResponse:
        principal = principal_of(context)
        outcomes = await self.reservations.submit_all(
            [reserve_command(one, principal) for one in request.requests],
            timeout_seconds=context.time_remaining(),
        )
        return inventory_service_pb2.BatchReserveStockResponse(
            results=batch_results(
                outcomes,
                inventory_service_pb2.ReserveStockResult,
                inventory_service_pb2.ReserveStockResponse,
                inventory_failure,
            )
        )

    async def ReleaseStock(
        self, request: inventory_service_pb2.ReleaseStockRequest, context: Context
    ) -> Encoded:
        command = release_command(request, principal_of(context))
        return unwrap(await self.releases.submit(command, timeout_seconds=context.time_remaining()))

    async def BatchReleaseStock(
        self, request: inventory_service_pb2.BatchReleaseStockRequest, context: Context
    ) -> inventory_service_pb2.BatchReleaseStockResponse:
        principal = principal_of(context)
        outcomes = await self.releases.submit_all(
            [release_command(one, principal) for one in request.requests],
            timeout_seconds=context.time_remaining(),
        )
        return inventory_service_pb2.BatchReleaseStockResponse(
            results=batch_results(
                outcomes,
                inventory_service_pb2.ReleaseStockResult,
                inventory_service_pb2.ReleaseStockResponse,
                inventory_failure,
            )
        )
