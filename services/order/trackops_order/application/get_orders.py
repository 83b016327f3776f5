"""Show orders, from the cache where it has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from trackops_order.application.ports import EncodeOrder, OrderCache, OrderReader
from trackops_order.domain.errors import OrderNotFound

__all__ = ["GetOrders"]


@dataclass(frozen=True)
class GetOrders:
    """Reads many orders at once; those that the cache lacks with one query."""

    reader: OrderReader
    cache: OrderCache
    encode: EncodeOrder

    def __call__(self, order_ids: Sequence[UUID]) -> Sequence[bytes | OrderNotFound]:
        distinct = list(dict.fromkeys(order_ids))
        snapshot = self.cache.get(distinct)
        found = dict(snapshot.entries)
        if missing := [order_id for order_id in distinct if order_id not in found]:
            found |= self._read_through(missing, snapshot.generation)
        return [found.get(order_id) or OrderNotFound(order_id) for order_id in order_ids]

    def _read_through(self, missing: Sequence[UUID], generation: int) -> dict[UUID, bytes]:
        orders = self.reader.get(missing)
        encoded = {order_id: self.encode(order) for order_id, order in orders.items()}
        self.cache.put(generation, {id_: (orders[id_].version, encoded[id_]) for id_ in encoded})
        return encoded
