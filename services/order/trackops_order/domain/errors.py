"""What an order refuses.

OrderError
├── OrderNotFound          no order has this id
├── ForbiddenTransition    the state machine has no such edge
├── EtagMismatch           the order is not the one that the caller has seen
├── VersionNotReached      the order never had the version that it was asked for at
├── TooManyPieces          more than is left to ship or to return
└── InvalidOrder           fields that, taken together, make no order, shipment or return
"""

from __future__ import annotations

from uuid import UUID

__all__ = [
    "EtagMismatch",
    "ForbiddenTransition",
    "InvalidOrder",
    "OrderError",
    "OrderNotFound",
    "TooManyPieces",
    "VersionNotReached",
]


class OrderError(Exception):
    """Base of everything that this domain refuses."""


class OrderNotFound(OrderError):
    """No order has this id."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"order {order_id} does not exist")
        self.order_id = order_id


class ForbiddenTransition(OrderError):
    """An order in state `frm` cannot go to state `to`."""

    def __init__(self, order_id: UUID, *, frm: str, to: str) -> None:
        super().__init__(f"order {order_id} is {frm} and cannot become {to}")
        self.order_id = order_id
        self.frm = frm
        self.to = to


class EtagMismatch(OrderError):
    """The order changed since the caller saw it with `etag`; it now has `current`."""

    def __init__(self, order_id: UUID, *, etag: str, current: str) -> None:
        super().__init__(f"order {order_id} has etag {current} and not {etag}")
        self.order_id = order_id
        self.etag = etag
        self.current = current


class VersionNotReached(OrderError):
    """The order was asked for at `min_version` or later, and has `version` only.

    There is one primary, so no later read would find more: the caller is wrong,
    or the database was restored to a time before that version.
    """

    def __init__(self, order_id: UUID, *, min_version: int, version: int) -> None:
        super().__init__(f"order {order_id} has version {version} and not yet {min_version}")
        self.order_id = order_id
        self.min_version = min_version
        self.version = version


class TooManyPieces(OrderError):
    """More pieces of a sku than the order has left for it; none at all of a sku it lacks."""

    def __init__(self, order_id: UUID, *, sku: str, requested: int, available: int) -> None:
        super().__init__(f"order {order_id} has {available} of {sku} left, not {requested}")
        self.order_id = order_id
        self.sku = sku
        self.requested = requested
        self.available = available


class InvalidOrder(OrderError):
    """What was given makes no order, shipment or return; `field` is the path of what is wrong."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
