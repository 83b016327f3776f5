"""Show what orders went through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from trackops_order.application.ports import EncodeTimeline, OrderReader
from trackops_order.domain.errors import OrderNotFound

__all__ = ["GetTimelines"]


@dataclass(frozen=True)
class GetTimelines:
    """Reads the timelines of many orders at once."""

    reader: OrderReader
    encode: EncodeTimeline

    def __call__(self, order_ids: Sequence[UUID]) -> Sequence[bytes | OrderNotFound]:
        timelines = self.reader.timelines(order_ids)
        return [
            self.encode(timelines[order_id]) if order_id in timelines else OrderNotFound(order_id)
            for order_id in order_ids
        ]
