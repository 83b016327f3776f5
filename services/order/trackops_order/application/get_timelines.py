"""Show what orders went through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from trackops_order.application.ports import OrderReader, TimelineEntry
from trackops_order.domain.errors import OrderNotFound

__all__ = ["GetTimelines"]


@dataclass(frozen=True)
class GetTimelines:
    """Reads the timelines of many orders at once."""

    reader: OrderReader

    def __call__(
        self, order_ids: Sequence[UUID]
    ) -> Sequence[Sequence[TimelineEntry] | OrderNotFound]:
        timelines = self.reader.timelines(order_ids)
        return [timelines.get(order_id) or OrderNotFound(order_id) for order_id in order_ids]
