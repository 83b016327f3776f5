"""What sagas ask of the inventory. Each order has a sku of its own, with 10 pieces."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from trackops.inventory.v1 import inventory_pb2
from trackops.inventory.v1 import inventory_service_pb2 as pb

from .moves import Move, Pair, times
from .participant import Participant, Rpc

__all__ = ["COMMIT", "MOVES", "RELEASE", "RESERVE", "RESERVE_RELEASE", "RESTOCK"]

_SERVICE = pb.DESCRIPTOR.services_by_name["InventoryService"]
_MODULE = "trackops_inventory"
_STOCK, _ORDERED = 10, 3


def _items(order_id: str) -> list[inventory_pb2.StockItem]:
    return [inventory_pb2.StockItem(sku=_sku(order_id), quantity=_ORDERED)]


def _sku(order_id: str) -> str:
    return f"S-{order_id.upper()}"


def _level(participant: Participant, order_id: str) -> Any:
    request = pb.BatchGetStockRequest(skus=[_sku(order_id)])
    (level,) = participant.call(_SERVICE, "BatchGetStock", request).stock_levels
    return level


def _reserve(order_id: str, request_id: str) -> pb.ReserveStockRequest:
    return pb.ReserveStockRequest(request_id=request_id, order_id=order_id, items=_items(order_id))


def _release(order_id: str, request_id: str) -> pb.ReleaseStockRequest:
    return pb.ReleaseStockRequest(request_id=request_id, order_id=order_id)


def _commit(order_id: str, request_id: str) -> pb.CommitStockRequest:
    return pb.CommitStockRequest(request_id=request_id, order_id=order_id, items=_items(order_id))


def _restock(order_id: str, request_id: str) -> pb.RestockItemsRequest:
    return pb.RestockItemsRequest(request_id=request_id, order_id=order_id, items=_items(order_id))


def _stocked(participant: Participant, number: int, *, pieces: int = _STOCK) -> Sequence[str]:
    orders = [str(uuid.uuid4()) for _ in range(number)]
    requests = [
        pb.AdjustStockRequest(request_id=str(uuid.uuid4()), sku=_sku(id_), delta=pieces)
        for id_ in orders
    ]
    participant.call(_SERVICE, "BatchAdjustStock", pb.BatchAdjustStockRequest(requests=requests))
    return orders


def _reserved(participant: Participant, number: int) -> Sequence[str]:
    orders = _stocked(participant, number)
    requests = [_reserve(id_, str(uuid.uuid4())) for id_ in orders]
    participant.call(_SERVICE, "BatchReserveStock", pb.BatchReserveStockRequest(requests=requests))
    return orders


def _committed(participant: Participant, number: int) -> Sequence[str]:
    orders = _reserved(participant, number)
    requests = [_commit(id_, str(uuid.uuid4())) for id_ in orders]
    participant.call(_SERVICE, "BatchCommitStock", pb.BatchCommitStockRequest(requests=requests))
    return orders


def _too_few(participant: Participant) -> tuple[str, str]:
    (order_id,) = _stocked(participant, 1, pieces=_ORDERED - 1)
    return order_id, "INSUFFICIENT_STOCK"


RESERVE = Move(
    "reserve",
    _MODULE,
    Rpc(_SERVICE, "ReserveStock", "BatchReserveStock"),
    _reserve,
    _stocked,
    "StockReserved",
    lambda participant, order_id: times(_level(participant, order_id).reserved, _ORDERED),
)
RELEASE = Move(
    "release",
    _MODULE,
    Rpc(_SERVICE, "ReleaseStock", "BatchReleaseStock"),
    _release,
    _reserved,
    "StockReleased",
    lambda participant, order_id: times(
        _ORDERED - _level(participant, order_id).reserved, _ORDERED
    ),
)
COMMIT = Move(
    "commit",
    _MODULE,
    Rpc(_SERVICE, "CommitStock", "BatchCommitStock"),
    _commit,
    _reserved,
    "StockCommitted",
    lambda participant, order_id: times(_STOCK - _level(participant, order_id).on_hand, _ORDERED),
)
RESTOCK = Move(
    "restock",
    _MODULE,
    Rpc(_SERVICE, "RestockItems", "BatchRestockItems"),
    _restock,
    _committed,
    "StockRestocked",
    lambda participant, order_id: times(
        _level(participant, order_id).on_hand - (_STOCK - _ORDERED), _ORDERED
    ),
)
MOVES = (RESERVE, RELEASE, COMMIT, RESTOCK)

RESERVE_RELEASE = Pair(RESERVE, RELEASE, "RESERVATION_RELEASED", _too_few)
