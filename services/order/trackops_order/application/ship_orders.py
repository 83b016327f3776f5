"""Ship some or all pieces of orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from trackops_common.idempotency import fingerprint
from trackops_order.application.change_orders import ChangeOrders, ChangeOutcome
from trackops_order.application.commands import OrderChange
from trackops_order.domain.goods import Pieces, Shipment

__all__ = ["ShipOrder", "ShipOrders"]


@dataclass(frozen=True)
class ShipOrder(OrderChange):
    """Ship pieces of one order. The request's key is the new shipment's id."""

    carrier: str
    tracking_number: str
    lines: Sequence[Pieces]

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint(
            [
                str(self.order_id),
                self.etag,
                self.carrier,
                self.tracking_number,
                [[line.sku, line.quantity] for line in self.lines],
            ]
        )

    @property
    def shipment(self) -> Shipment:
        """What leaves."""
        return Shipment(self.request_key, self.carrier, self.tracking_number, self.lines)


@dataclass(frozen=True)
class ShipOrders:
    """Ships pieces of many orders in one transaction; each succeeds or fails alone."""

    change_orders: ChangeOrders

    def __call__(self, commands: Sequence[ShipOrder]) -> Sequence[ChangeOutcome]:
        return self.change_orders(
            commands, lambda order, command, now: order.ship(command.shipment, now)
        )
