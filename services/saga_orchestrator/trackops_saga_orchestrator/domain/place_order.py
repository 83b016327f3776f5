"""Drives an accepted order to CONFIRMED or REJECTED."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from trackops_saga_orchestrator.domain.participants import inventory, order, payment
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import PIVOT, Json, Step

__all__ = ["PLACE_ORDER", "OrderToPlace"]

PLACE_ORDER = Saga(
    "place-order",
    version=1,
    opens=True,
    steps=[
        Step("reserve-stock", inventory.reserve, compensate=inventory.release),
        Step(
            "authorize-payment",
            payment.authorize,
            compensate=payment.void,
            after=["reserve-stock"],
        ),
        Step("confirm-order", order.confirm, kind=PIVOT, after=["authorize-payment"]),
    ],
    on_failure=order.close,
)


@dataclass(frozen=True, slots=True)
class OrderToPlace:
    """What the steps need to know of an order; its id is the saga's subject."""

    items: Sequence[tuple[str, int]]
    """Sku and pieces."""
    amount_minor: int
    currency_code: str
    """ISO 4217."""
    payment_method_token: str

    def to_input(self) -> Mapping[str, Json]:
        """The saga's input."""
        return {
            "items": self.items,
            "amount_minor": self.amount_minor,
            "currency_code": self.currency_code,
            "payment_method_token": self.payment_method_token,
        }

    @classmethod
    def from_input(cls, value: Mapping[str, Json]) -> OrderToPlace:
        """The other way."""
        return cls(
            items=cast("Sequence[tuple[str, int]]", value["items"]),
            amount_minor=cast("int", value["amount_minor"]),
            currency_code=cast("str", value["currency_code"]),
            payment_method_token=cast("str", value["payment_method_token"]),
        )
