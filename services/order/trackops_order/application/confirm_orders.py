"""Confirm orders: stock and payment are arranged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from trackops_common.idempotency import fingerprint, request_key
from trackops_order.application.change_orders import ChangeOrders, ChangeOutcome

__all__ = ["ConfirmOrder", "ConfirmOrders"]


@dataclass(frozen=True)
class ConfirmOrder:
    """Confirm one order."""

    principal: str
    request_id: str
    order_id: UUID

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method="ConfirmOrder")

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint([str(self.order_id)])


@dataclass(frozen=True)
class ConfirmOrders:
    """Confirms many orders in one transaction; each succeeds or fails alone."""

    change_orders: ChangeOrders

    def __call__(self, commands: Sequence[ConfirmOrder]) -> Sequence[ChangeOutcome]:
        return self.change_orders(commands, lambda order, _, now: order.confirm(now))
