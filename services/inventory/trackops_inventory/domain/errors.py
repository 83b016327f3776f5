"""What the inventory refuses.

InventoryError
├── SkuNotFound            no stock was ever recorded for this sku
├── InsufficientStock      less is available than was asked for
├── ReservationNotFound    nothing was ever reserved for this order
├── ReservationReleased    a release for this order came first, or its time was over
├── ReservedOtherwise      the order has a reservation already, and not this one
├── TooManyPieces          fewer pieces are held, or left and are not back
└── InvalidReservation     the items, taken together, make no sense
"""

from __future__ import annotations

from uuid import UUID

__all__ = [
    "InsufficientStock",
    "InvalidReservation",
    "InventoryError",
    "ReservationNotFound",
    "ReservationReleased",
    "ReservedOtherwise",
    "SkuNotFound",
    "TooManyPieces",
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


class ReservationNotFound(InventoryError):
    """Nothing was ever reserved for this order."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"nothing was ever reserved for order {order_id}")
        self.order_id = order_id


class ReservationReleased(InventoryError):
    """What an order held was released, maybe before it was ever held; that is final."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"the reservation of order {order_id} was released")
        self.order_id = order_id


class ReservedOtherwise(InventoryError):
    """An order has one reservation; this one's, in `state`, cannot become the one asked for."""

    def __init__(self, order_id: UUID, *, state: str) -> None:
        super().__init__(f"order {order_id} has another reservation already, {state}")
        self.order_id = order_id
        self.state = state


class TooManyPieces(InventoryError):
    """More pieces of a sku were to go, or to come back, than an order has for it."""

    def __init__(self, order_id: UUID, sku: str, *, requested: int, available: int) -> None:
        super().__init__(
            f"{requested} of sku {sku} asked for, order {order_id} has {available} for it"
        )
        self.order_id = order_id
        self.sku = sku
        self.requested = requested
        self.available = available


class InvalidReservation(InventoryError):
    """The items, taken together, make no sense; `field` says where."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
