"""`trackops.inventory.v1.InventoryService`."""

from __future__ import annotations

from trackops.inventory.v1 import inventory_service_pb2

from trackops_common.batching import Batcher
from trackops_common.grpc.command_rpc import CommandRpc
from trackops_common.grpc.endpoints import Context
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


class InventoryServicer:
    """Answers InventoryService; the contract's comments say what each RPC promises."""

    def __init__(
        self,
        adjustments: Batcher[AdjustStock, AdjustStockOutcome],
        reservations: Batcher[ReserveStock, ReserveStockOutcome],
        releases: Batcher[ReleaseStock, ReleaseStockOutcome],
        reads: Batcher[str, StockLevel | SkuNotFound],
    ) -> None:
        pb = inventory_service_pb2
        adjust = CommandRpc(
            adjustments, adjust_command, pb.BatchAdjustStockResponse, inventory_failure
        )
        reserve = CommandRpc(
            reservations, reserve_command, pb.BatchReserveStockResponse, inventory_failure
        )
        release = CommandRpc(
            releases, release_command, pb.BatchReleaseStockResponse, inventory_failure
        )
        self.AdjustStock, self.BatchAdjustStock = adjust.one, adjust.many
        self.ReserveStock, self.BatchReserveStock = reserve.one, reserve.many
        self.ReleaseStock, self.BatchReleaseStock = release.one, release.many
        self._reads = reads

    async def BatchGetStock(
        self, request: inventory_service_pb2.BatchGetStockRequest, context: Context
    ) -> inventory_service_pb2.BatchGetStockResponse:
        found = await self._reads.submit_all(
            list(request.skus), timeout_seconds=context.time_remaining()
        )
        return stock_message(level for level in found if isinstance(level, StockLevel))
