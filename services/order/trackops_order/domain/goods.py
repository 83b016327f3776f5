"""Products of an order, and the pieces of them that leave and come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

__all__ = ["GoodsReturn", "OrderLine", "Pieces", "ReturnedLine", "Shipment"]


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One product of an order; returned ≤ shipped ≤ ordered."""

    sku: str
    quantity: int
    unit_price_minor: int
    shipped_quantity: int = 0
    returned_quantity: int = 0

    @property
    def to_ship(self) -> int:
        """Pieces that are still to leave."""
        return self.quantity - self.shipped_quantity

    @property
    def to_return(self) -> int:
        """Pieces that left and did not come back."""
        return self.shipped_quantity - self.returned_quantity


@dataclass(frozen=True, slots=True)
class Pieces:
    """So many pieces of one product."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Shipment:
    """Pieces that left together."""

    shipment_id: UUID
    carrier: str
    tracking_number: str
    lines: Sequence[Pieces]


@dataclass(frozen=True, slots=True)
class ReturnedLine:
    """Pieces of one product that came back, and what is refunded for them."""

    sku: str
    quantity: int
    refund_minor: int


@dataclass(frozen=True, slots=True)
class GoodsReturn:
    """Pieces that came back together."""

    return_id: UUID
    reason: str
    lines: Sequence[ReturnedLine]

    @property
    def refund_minor(self) -> int:
        """What is refunded for all of them."""
        return sum(line.refund_minor for line in self.lines)
