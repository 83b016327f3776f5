"""Free what is held for orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from trackops_common.idempotency import RequestLedger, fingerprint, request_key
from trackops_common.tracing import current_traceparent
from trackops_inventory.application.change_reservations import ReservationOutcome
from trackops_inventory.application.ports import EncodeReservation, UnitOfWorkFactory
from trackops_inventory.domain.errors import InventoryError
from trackops_inventory.domain.events import StockReleased
from trackops_inventory.domain.reservation import Reservation
from trackops_inventory.domain.stock import StockLedger

__all__ = ["ReleaseStock", "ReleaseStockForOrders"]


@dataclass(frozen=True)
class ReleaseStock:
    """Free what is still held for one order, now and for ever."""

    principal: str
    request_id: str
    order_id: UUID
    traceparent: str = field(default_factory=current_traceparent, kw_only=True, compare=False)
    """Of what asks for it; no part of what is asked."""

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method="ReleaseStock")

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint([str(self.order_id)])


@dataclass(frozen=True)
class ReleaseStockForOrders:
    """Releases for many orders in one transaction; each command succeeds or fails alone.

    An order without a reservation gets one that is RELEASED from the start, the
    mark that refuses a reservation which arrives later. The locks, and why
    nothing slips between a release and a reservation at the same time, are
    those of `ReserveStockForOrders`. Pieces that left the house stay away.
    """

    unit_of_work: UnitOfWorkFactory
    encode: EncodeReservation

    def __call__(self, commands: Sequence[ReleaseStock]) -> Sequence[ReservationOutcome]:
        with self.unit_of_work() as work:
            now = work.now()
            marks = {c.order_id: Reservation.mark_released(c.order_id, now=now) for c in commands}
            standing = work.reservations.claim(list(marks.values()))
            ledger = RequestLedger(work.requests.find(c.request_key for c in commands))
            held = [item for reservation in standing.values() for item in reservation.held_items]
            stock = StockLedger(work.stock.lock({item.sku for item in held}))
            events: list[StockReleased] = []
            traces: list[str] = []

            def release(command: ReleaseStock) -> bytes:
                reservation = standing[command.order_id]
                if fact := reservation.release(now):
                    stock.free(fact.items)
                    events.append(fact)
                    traces.append(command.traceparent)
                return self.encode(reservation)

            outcomes = [ledger.answer(command, release, InventoryError) for command in commands]
            work.reservations.withdraw(_unused(marks, standing, commands, outcomes))
            work.reservations.save([standing[event.order_id] for event in events])
            work.stock.save(stock.changed)
            work.requests.save(ledger.new)
            work.commit(events, traces)
        return outcomes


def _unused(
    marks: Mapping[UUID, Reservation],
    standing: Mapping[UUID, Reservation],
    commands: Sequence[ReleaseStock],
    outcomes: Sequence[ReservationOutcome],
) -> set[UUID]:
    """The orders whose mark was stored for a command that was refused."""
    new = {order_id for order_id, mark in marks.items() if standing[order_id] is mark}
    answered = {
        command.order_id
        for command, outcome in zip(commands, outcomes, strict=True)
        if isinstance(outcome, bytes)
    }
    return new - answered
