"""`trackops.inventory.v1.InventoryService`."""

from __future__ import annotations

from trackops.inventory.v1 import inventory_service_pb2

from trackops_common.batching import Batcher
from trackops_common.grpc.command_rpc import CommandRpc
from trackops_common.grpc.endpoints import Context
from trackops_inventory.application.adjust_stock import AdjustStock, AdjustStockOutcome
from trackops_inventory.application.change_reservations import ReservationOutcome
from trackops_inventory.application.commit_stock import CommitStock
from trackops_inventory.application.release_stock import ReleaseStock
from trackops_inventory.application.reserve_stock import ReserveStock
from trackops_inventory.application.restock_items import RestockItems
from trackops_inventory.domain.errors import SkuNotFound
from trackops_inventory.domain.stock import StockLevel
from trackops_inventory.entrypoints.converters import (
    adjust_command,
    commit_command,
    release_command,
    reserve_command,
    restock_command,
    stock_message,
)
from trackops_inventory.entrypoints.errors import inventory_failure

__all__ = ["InventoryServicer"]


class InventoryServicer:
    """Answers InventoryService; the contract's comments say what each RPC promises."""

    def __init__(
        self,
        adjustments: Batcher[AdjustStock, AdjustStockOutcome],
        reservations: Batcher[ReserveStock, ReservationOutcome],
        releases: Batcher[ReleaseStock, ReservationOutcome],
        commits: Batcher[CommitStock, ReservationOutcome],
        restocks: Batcher[RestockItems, ReservationOutcome],
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
        commit = CommandRpc(commits, commit_command, pb.BatchCommitStockResponse, inventory_failure)
        restock = CommandRpc(
            restocks, restock_command, pb.BatchRestockItemsResponse, inventory_failure
        )
        self.AdjustStock, self.BatchAdjustStock = adjust.one, adjust.many
        self.ReserveStock, self.BatchReserveStock = reserve.one, reserve.many
        self.ReleaseStock, self.BatchReleaseStock = release.one, release.many
        self.CommitStock, self.BatchCommitStock = commit.one, commit.many
        self.RestockItems, self.BatchRestockItems = restock.one, restock.many
        self._reads = reads

    async def BatchGetStock(
        self, request: inventory_service_pb2.BatchGetStockRequest, context: Context
    ) -> inventory_service_pb2.BatchGetStockResponse:
        found = await self._reads.submit_all(
            list(request.skus), timeout_seconds=context.time_remaining()
        )
        return stock_message(level for level in found if isinstance(level, StockLevel))
