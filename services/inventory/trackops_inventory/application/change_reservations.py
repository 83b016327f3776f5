"""What every use case that changes the reservations of orders has alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TypeVar
from uuid import UUID

from trackops_common.errors import RequestIdReused
from trackops_common.idempotency import JsonValue, RequestLedger, fingerprint, request_key
from trackops_common.tracing import current_traceparent
from trackops_inventory.application.ports import EncodeReservation, UnitOfWorkFactory
from trackops_inventory.domain.errors import InventoryError, ReservationNotFound
from trackops_inventory.domain.events import ReservationEvent
from trackops_inventory.domain.reservation import Reservation
from trackops_inventory.domain.stock import StockItem, StockLedger

__all__ = ["ChangeReservations", "ItemsCommand", "ReservationOutcome", "items_json"]


@dataclass(frozen=True)
class ItemsCommand:
    """Do something with some pieces of one order; the kind of command names the request."""

    principal: str
    request_id: str
    order_id: UUID
    items: tuple[StockItem, ...]
    traceparent: str = field(default_factory=current_traceparent, kw_only=True, compare=False)
    """Of what asks for it; no part of what is asked."""

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method=type(self).__name__)

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint([str(self.order_id), items_json(self.items)])


def items_json(items: Sequence[StockItem]) -> JsonValue:
    """Items as part of what a request's fingerprint is made from."""
    return [[item.sku, item.quantity] for item in items]


C = TypeVar("C", bound=ItemsCommand)
ReservationOutcome = bytes | InventoryError | RequestIdReused


@dataclass(frozen=True)
class ChangeReservations:
    """Locks the reservations of a batch, looks its requests up, and changes what is to be changed.

    The reservation's lock comes first: a repeat that runs at the same time
    waits for it and then finds the stored response. Locks are taken in the
    order that `ReserveStockForOrders` tells of.
    """

    unit_of_work: UnitOfWorkFactory
    encode: EncodeReservation

    def __call__(
        self,
        commands: Sequence[C],
        change: Callable[[Reservation, StockLedger, C, datetime], ReservationEvent],
    ) -> Sequence[ReservationOutcome]:
        with self.unit_of_work() as work:
            standing = work.reservations.lock({command.order_id for command in commands})
            now = work.now()
            ledger = RequestLedger(work.requests.find(c.request_key for c in commands))
            skus = {item.sku for one in standing.values() for item in one.items}
            wanted = {item.sku for command in commands for item in command.items}
            stock = StockLedger(work.stock.lock(skus & wanted))
            events: list[ReservationEvent] = []
            traces: list[str] = []

            def change_one(command: C) -> bytes:
                reservation = standing.get(command.order_id)
                if reservation is None:
                    raise ReservationNotFound(command.order_id)
                events.append(change(reservation, stock, command, now))
                traces.append(command.traceparent)
                return self.encode(reservation)

            outcomes = [ledger.answer(command, change_one, InventoryError) for command in commands]
            changed = {event.order_id for event in events}
            work.reservations.save([standing[order_id] for order_id in changed])
            work.stock.save(stock.changed)
            work.requests.save(ledger.new)
            work.commit(events, traces)
        return outcomes
