"""Requests as commands, and what is not stored encoded as messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from trackops.inventory.v1 import inventory_pb2, inventory_service_pb2

from trackops_common.auth import Principal
from trackops_inventory.application.adjust_stock import AdjustStock
from trackops_inventory.application.commit_stock import CommitStock
from trackops_inventory.application.release_stock import ReleaseStock
from trackops_inventory.application.reserve_stock import ReserveStock
from trackops_inventory.application.restock_items import RestockItems
from trackops_inventory.domain.stock import StockItem, StockLevel

__all__ = [
    "adjust_command",
    "commit_command",
    "release_command",
    "reserve_command",
    "restock_command",
    "stock_message",
]


def adjust_command(
    request: inventory_service_pb2.AdjustStockRequest, principal: Principal
) -> AdjustStock:
    """The command of a valid request."""
    return AdjustStock(principal.name, request.request_id, request.sku, request.delta)


def reserve_command(
    request: inventory_service_pb2.ReserveStockRequest, principal: Principal
) -> ReserveStock:
    """The command of a valid request."""
    return ReserveStock(
        principal.name,
        request.request_id,
        UUID(request.order_id),
        _items(request.items),
        request.expire_after_seconds,
    )


def release_command(
    request: inventory_service_pb2.ReleaseStockRequest, principal: Principal
) -> ReleaseStock:
    """The command of a valid request."""
    return ReleaseStock(principal.name, request.request_id, UUID(request.order_id))


def commit_command(
    request: inventory_service_pb2.CommitStockRequest, principal: Principal
) -> CommitStock:
    """The command of a valid request."""
    return CommitStock(
        principal.name, request.request_id, UUID(request.order_id), _items(request.items)
    )


def restock_command(
    request: inventory_service_pb2.RestockItemsRequest, principal: Principal
) -> RestockItems:
    """The command of a valid request."""
    return RestockItems(
        principal.name, request.request_id, UUID(request.order_id), _items(request.items)
    )


def stock_message(levels: Iterable[StockLevel]) -> inventory_service_pb2.BatchGetStockResponse:
    """The levels as their service shows them."""
    return inventory_service_pb2.BatchGetStockResponse(
        stock_levels=[
            inventory_pb2.StockLevel(
                sku=level.sku,
                on_hand=level.on_hand,
                reserved=level.reserved,
                available=level.available,
            )
            for level in levels
        ]
    )


def _items(items: Sequence[inventory_pb2.StockItem]) -> tuple[StockItem, ...]:
    return tuple(StockItem(item.sku, item.quantity) for item in items)
