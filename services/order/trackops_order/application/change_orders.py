"""What every use case that changes existing orders has alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from trackops_common.clock import Clock
from trackops_common.errors import RequestIdReused
from trackops_common.idempotency import IdempotentCommand, RequestLedger
from trackops_order.application.ports import EncodeChange, OrderCache, OrderFeed, UnitOfWorkFactory
from trackops_order.domain.errors import OrderError, OrderNotFound
from trackops_order.domain.events import OrderEvent
from trackops_order.domain.order import Order

__all__ = ["ChangeOrders", "ChangeOutcome", "OrderCommand"]


class OrderCommand(IdempotentCommand, Protocol):
    """A command about one order that exists."""

    @property
    def order_id(self) -> UUID: ...
    @property
    def etag(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def traceparent(self) -> str: ...


C = TypeVar("C", bound=OrderCommand)
ChangeOutcome = bytes | OrderError | RequestIdReused


@dataclass(frozen=True)
class ChangeOrders:
    """Locks the orders of a batch, looks its requests up, and changes what is to be changed.

    The lock comes first: a repeat that runs at the same time waits for it and
    then finds the stored response.
    """

    unit_of_work: UnitOfWorkFactory
    cache: OrderCache
    feed: OrderFeed
    encode: EncodeChange
    clock: Clock

    def __call__(
        self, commands: Sequence[C], change: Callable[[Order, C, datetime], OrderEvent]
    ) -> Sequence[ChangeOutcome]:
        now = self.clock.now()
        with self.unit_of_work() as work:
            orders = work.orders.lock({command.order_id for command in commands})
            ledger = RequestLedger(work.requests.find(c.request_key for c in commands))
            events: list[OrderEvent] = []
            traces: list[str] = []

            def change_one(command: C) -> bytes:
                order = orders.get(command.order_id)
                if order is None or command.owner not in ("", order.customer_id):
                    raise OrderNotFound(command.order_id)
                order.expect(command.etag)
                event = change(order, command, now)
                events.append(event)
                traces.append(command.traceparent)
                return self.encode(event)

            outcomes = [ledger.answer(command, change_one, OrderError) for command in commands]
            work.orders.save(events)
            work.requests.save(ledger.new)
            work.commit(events, traces)
        # Also where nothing changed: a repeat is all that is heard of a change whose server died
        # before it told the cache.
        versions = {order.order_id: order.version for order in orders.values()}
        self.cache.supersede(versions)
        self.feed.tell(versions)
        return outcomes
