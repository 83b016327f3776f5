"""What the inventory refuses.

InventoryError
├── SkuNotFound            no stock was ever recorded for this sku
├── InsufficientStock      less is available than was asked for
├── ReservationReleased    a release for this order came first
├── ReservedOtherwise      the order holds other items already
└── InvalidReservation     the items, taken together, cannot be reserved
"""

from __future__ import annotations

from uuid import UUID

__all__ = [
    "InsufficientStock",
    "InvalidReservation",
    "InventoryError",
    "ReservationReleased",
    "ReservedOtherwise",
    "SkuNotFound",
]


class InventoryError(Exception):
    """Base of everything that this domain refuses."""


class SkuNotFound(InventoryError):
    """No stock was ever recorded for this sku."""

    def __init__(self, sku: str) -> None:
        super().__init__(f"sku {sku} is not known")
        self.sku = sku


class InsufficientStock(InventoryError):
    """Fewer pieces are available than were asked for."""

    def __init__(self, sku: str, *, requested: int, available: int) -> None:
        super().__init__(f"{requested} of sku {sku} asked for, {available} available")
        self.sku = sku
        self.requested = requested
        self.available = available


class ReservationReleased(InventoryError):
    """What an order held was released, maybe before it was ever held; that is final."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"the reservation of order {order_id} was released")
        self.order_id = order_id


class ReservedOtherwise(InventoryError):
    """An order has one reservation, and this one's holds other items."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"order {order_id} holds other items already")
        self.order_id = order_id


class InvalidReservation(InventoryError):
    """The items, taken together, cannot be reserved; `field` says where."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
