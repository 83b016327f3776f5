"""How much of each sku there is, and how much of that is promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trackops_inventory.domain.errors import InsufficientStock, InvalidReservation, SkuNotFound

__all__ = ["StockItem", "StockLedger", "StockLevel", "require_distinct"]


@dataclass(frozen=True, slots=True)
class StockItem:
    """Some pieces of one sku."""

    sku: str
    quantity: int


def require_distinct(items: Sequence[StockItem]) -> None:
    """Check that no sku stands in two items.

    Raises:
        InvalidReservation: one does.
    """
    if len({item.sku for item in items}) < len(items):
        raise InvalidReservation("items", "a sku may stand in one item only")


@dataclass(slots=True)
class StockLevel:
    """The pieces of one sku. `0 <= reserved <= on_hand`, which its methods keep."""

    sku: str
    on_hand: int = 0
    """Pieces in the house, reserved ones included."""
    reserved: int = 0
    """Pieces promised to orders."""
    version: int = 0
    """How often the sku was adjusted; what orders do to it is counted with the orders."""

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved

    def require(self, quantity: int) -> None:
        """Check that `quantity` pieces are available.

        Raises:
            InsufficientStock: they are not.
        """
        if quantity > self.available:
            raise InsufficientStock(self.sku, requested=quantity, available=self.available)

    def adjust(self, delta: int) -> None:
        """Add `delta` pieces; negative takes away.

        Raises:
            InsufficientStock: more would be taken away than is available.
        """
        self.require(-delta)
        self.on_hand += delta
        self.version += 1

    def hold(self, quantity: int) -> None:
        """Promise pieces.

        Raises:
            InsufficientStock: fewer are available.
        """
        self.require(quantity)
        self.reserved += quantity

    def free(self, quantity: int) -> None:
        """Take back a promise that `hold` made."""
        self.reserved -= quantity

    def commit(self, quantity: int) -> None:
        """Promised pieces leave the house."""
        self.reserved -= quantity
        self.on_hand -= quantity

    def restock(self, quantity: int) -> None:
        """Pieces that left come back."""
        self.on_hand += quantity


class StockLedger:
    """The levels that a batch works on: changed in memory, command by command, written once."""

    def __init__(self, levels: Mapping[str, StockLevel]) -> None:
        self._levels = levels
        self._touched: set[str] = set()

    @property
    def changed(self) -> Sequence[StockLevel]:
        """The levels to be written."""
        return [self._levels[sku] for sku in self._touched]

    def adjust(self, sku: str, delta: int) -> StockLevel:
        """Add `delta` pieces to a sku; the level after it.

        Raises:
            SkuNotFound: the ledger has no level for it.
            InsufficientStock: more would be taken away than is available.
        """
        level = self._level(sku)
        level.adjust(delta)
        self._touched.add(sku)
        return level

    def hold(self, items: Sequence[StockItem]) -> None:
        """Promise every item, or none.

        Raises:
            InvalidReservation: a sku stands in two items.
            SkuNotFound: a sku is not known.
            InsufficientStock: fewer pieces of a sku are available.
        """
        require_distinct(items)
        wanted = [(self._level(item.sku), item.quantity) for item in items]
        for level, quantity in wanted:
            level.require(quantity)
        for level, quantity in wanted:
            level.hold(quantity)
            self._touched.add(level.sku)

    def free(self, items: Iterable[StockItem]) -> None:
        """Take back what `hold` promised."""
        for item in items:
            self._touch(item).free(item.quantity)

    def commit(self, items: Iterable[StockItem]) -> None:
        """What `hold` promised leaves the house."""
        for item in items:
            self._touch(item).commit(item.quantity)

    def restock(self, items: Iterable[StockItem]) -> None:
        """What `commit` let go comes back."""
        for item in items:
            self._touch(item).restock(item.quantity)

    def _touch(self, item: StockItem) -> StockLevel:
        """The level of an item that was held once, to be changed."""
        self._touched.add(item.sku)
        return self._levels[item.sku]

    def _level(self, sku: str) -> StockLevel:
        level = self._levels.get(sku)
        if level is None:
            raise SkuNotFound(sku)
        return level
