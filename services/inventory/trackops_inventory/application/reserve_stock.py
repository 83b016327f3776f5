"""Hold stock for orders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from uuid import UUID

from trackops_common.idempotency import RequestLedger, fingerprint, request_key
from trackops_common.tracing import current_traceparent
from trackops_inventory.application.change_reservations import ReservationOutcome, items_json
from trackops_inventory.application.ports import EncodeReservation, UnitOfWorkFactory
from trackops_inventory.domain.errors import InventoryError
from trackops_inventory.domain.reservation import Reservation
from trackops_inventory.domain.stock import StockItem, StockLedger

__all__ = ["ReserveStock", "ReserveStockForOrders"]


@dataclass(frozen=True)
class ReserveStock:
    """Hold every item for one order, or none."""

    principal: str
    request_id: str
    order_id: UUID
    items: tuple[StockItem, ...]
    expire_after_seconds: int = 0
    """0: never."""
    traceparent: str = field(default_factory=current_traceparent, kw_only=True, compare=False)
    """Of what asks for it; no part of what is asked."""

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method="ReserveStock")

    @cached_property
    def request_hash(self) -> bytes:
        what = [str(self.order_id), items_json(self.items)]
        return fingerprint(
            [*what, self.expire_after_seconds] if self.expire_after_seconds else what
        )

    def propose(self, now: datetime) -> Reservation:
        """The reservation asked for."""
        return Reservation.hold(
            self.order_id, self.items, now=now, expire_after_seconds=self.expire_after_seconds
        )


@dataclass(frozen=True)
class ReserveStockForOrders:
    """Reserves for many orders in one transaction; each command succeeds or fails alone.

    A reservation is stored before anything is decided. So its primary key is
    the lock of an order that has no row yet: whoever reserves or releases the
    same order at the same time waits until we commit or roll back, and then
    finds what we left. A release that was first has left its mark, which
    refuses us; one that comes second finds the reservation and frees it. A
    refused reservation is taken back before the commit.

    Locks are taken in one order by every use case and every replica, so no two
    batches wait for each other in a circle: keys of new reservations by order
    id, then rows of existing ones by order id, then stock rows by sku, then
    the outbox. Only an open transaction's own insert can make the first step
    wait, and nobody who is past a step waits for someone before it. Stock is
    locked last but one because a popular sku is what batches queue for.
    (Expiry takes rows of reservations out of turn, but never waits for one.
    Advisory locks by order id would do as well, but a thousand of them a
    batch is more than Postgres's shared lock table is made for.)

    Stock is decided in memory, command by command, and written with one row
    update a sku, however many commands wanted it.
    """

    unit_of_work: UnitOfWorkFactory
    encode: EncodeReservation

    def __call__(self, commands: Sequence[ReserveStock]) -> Sequence[ReservationOutcome]:
        first = {command.order_id: command for command in reversed(commands)}
        with self.unit_of_work() as work:
            now = work.now()
            proposed = {id_: command.propose(now) for id_, command in first.items()}
            standing = dict(work.reservations.claim(list(proposed.values())))
            new = {id_ for id_, reservation in proposed.items() if standing[id_] is reservation}
            ledger = RequestLedger(work.requests.find(c.request_key for c in commands))
            stock = StockLedger(work.stock.lock(_skus(c for c in commands if c.order_id in new)))
            held: dict[UUID, Reservation] = {}
            traces: dict[UUID, str] = {}

            def reserve(command: ReserveStock) -> bytes:
                order_id = command.order_id
                if order_id in new and order_id not in held:
                    stock.hold(command.items)
                    is_first = command is first[order_id]
                    held[order_id] = standing[order_id] if is_first else command.propose(now)
                    standing[order_id] = held[order_id]
                    traces[order_id] = command.traceparent
                else:
                    standing[order_id].confirm_held(command.items, now)
                return self.encode(standing[order_id])

            outcomes = [ledger.answer(command, reserve, InventoryError) for command in commands]
            work.reservations.withdraw(new - held.keys())
            work.reservations.save([r for id_, r in held.items() if r is not proposed[id_]])
            work.stock.save(stock.changed)
            work.requests.save(ledger.new)
            facts = [reservation.reserved() for reservation in held.values()]
            work.commit(facts, [traces[order_id] for order_id in held])
        return outcomes


def _skus(commands: Iterable[ReserveStock]) -> set[str]:
    return {item.sku for command in commands for item in command.items}
