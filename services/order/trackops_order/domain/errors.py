"""What an order refuses.

OrderError
├── OrderNotFound          no order has this id
├── ForbiddenTransition    the state machine has no such edge
└── InvalidOrder           the lines do not make an order
"""

from __future__ import annotations

from uuid import UUID

__all__ = ["ForbiddenTransition", "InvalidOrder", "OrderError", "OrderNotFound"]


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


class InvalidOrder(OrderError):
    """The lines, taken together, do not make an order; `field` says where."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
