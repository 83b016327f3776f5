"""Show stock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trackops_inventory.application.ports import StockReader
from trackops_inventory.domain.errors import SkuNotFound
from trackops_inventory.domain.stock import StockLevel

__all__ = ["GetStock"]


@dataclass(frozen=True)
class GetStock:
    """Reads the levels of many skus with one query."""

    reader: StockReader

    def __call__(self, skus: Sequence[str]) -> Sequence[StockLevel | SkuNotFound]:
        levels = self.reader.get(skus)
        return [levels.get(sku) or SkuNotFound(sku) for sku in skus]
