"""The orders of a demo, each with the end that it must come to."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from trackops.order.v1.order_pb2 import OrderLine
from trackops.order.v1.order_service_pb2 import CreateOrderRequest

__all__ = ["Ending", "Plan", "PlannedOrder", "make_plan"]

_ORDERS = 200
_DECLINED = 15
_SCARCE_BUYERS = 20
_SCARCE_STOCK = 12
_TWINS = 5
_PLENTY = 10_000


class Ending(StrEnum):
    """What must become of an order."""

    CONFIRMED = "confirmed"
    DECLINED = "rejected: the card is declined"
    SCARCE = "confirmed or rejected: more buyers than pieces"
    INVALID = "refused: the request is invalid"


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """A request to send, `sends` times with the same request id, and where it must lead."""

    request: CreateOrderRequest
    ending: Ending
    sends: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """A demo: what to put on the shelves, and what to order."""

    stock: dict[str, int]
    """Pieces by sku. Every run has skus of its own, so that its sums can be checked."""
    scarce_sku: str
    orders: Sequence[PlannedOrder]

    @property
    def scarce_confirmations(self) -> int:
        """How many of the SCARCE orders must be confirmed."""
        return self.stock[self.scarce_sku]


def make_plan(run: str, randomness: random.Random) -> Plan:
    """200 valid or invalid orders in random order; `run` becomes part of every sku."""
    shelves = [f"DEMO-{run}-{name}" for name in ("TEA", "CUP", "POT", "TIN", "JAM")]
    scarce = f"DEMO-{run}-RARE"
    orders = [
        *(_declined(shelves, randomness) for _ in range(_DECLINED)),
        *(_order([scarce], randomness, Ending.SCARCE) for _ in range(_SCARCE_BUYERS)),
        *(_order(shelves, randomness, Ending.CONFIRMED, sends=2) for _ in range(_TWINS)),
        PlannedOrder(CreateOrderRequest(request_id="not-a-uuid"), Ending.INVALID),
    ]
    plain = _ORDERS - len(orders)
    orders += [_order(shelves, randomness, Ending.CONFIRMED) for _ in range(plain)]
    randomness.shuffle(orders)
    return Plan({**dict.fromkeys(shelves, _PLENTY), scarce: _SCARCE_STOCK}, scarce, orders)


def _order(
    shelves: list[str], randomness: random.Random, ending: Ending, *, sends: int = 1
) -> PlannedOrder:
    skus = randomness.sample(shelves, k=randomness.randint(1, min(3, len(shelves))))
    pieces = 1 if ending is Ending.SCARCE else 3
    request = CreateOrderRequest(
        request_id=str(uuid.uuid4()),
        customer_id=f"customer-{randomness.randint(1, 20)}",
        currency_code="EUR",
        lines=[
            OrderLine(
                sku=sku,
                quantity=randomness.randint(1, pieces),
                unit_price_minor=randomness.randint(199, 9999),
            )
            for sku in skus
        ],
        payment_method_token="tok_visa",  # noqa: S106 - the simulated provider's
    )
    return PlannedOrder(request, ending, sends)


def _declined(shelves: list[str], randomness: random.Random) -> PlannedOrder:
    planned = _order(shelves, randomness, Ending.DECLINED)
    planned.request.payment_method_token = "tok_declined"  # noqa: S105 - the simulated provider's
    return planned
