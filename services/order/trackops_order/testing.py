"""The order service's world in memory; each fake passes the suite of the real adapter."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from trackops_common.idempotency import StoredRequest
from trackops_common.testing import InMemoryRequestStore
from trackops_order.application.ports import CacheSnapshot, TimelineEntry
from trackops_order.domain.events import OrderEvent, OrderPlaced
from trackops_order.domain.order import Order, OrderLine

__all__ = ["InMemoryOrderCache", "InMemoryOrders", "placed"]


def placed(
    *,
    order_id: UUID | None = None,
    customer_id: str = "customer-1",
    lines: Sequence[OrderLine] = (OrderLine("TEA-1", 2, 350), OrderLine("CUP-1", 1, 1200)),
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC),
) -> OrderPlaced:
    """The fact of a new order, by default one of 2 TEA-1 and 1 CUP-1 for 19.00 EUR."""
    return Order.place(
        order_id or uuid.uuid4(),
        customer_id=customer_id,
        currency_code="EUR",
        lines=lines,
        payment_method_token="tok_ok",  # noqa: S106 - the name of a method, no secret
        now=now,
    )


@dataclass
class _Tables:
    orders: dict[UUID, Order] = field(default_factory=dict)
    timelines: dict[UUID, list[TimelineEntry]] = field(default_factory=dict)
    requests: dict[UUID, StoredRequest] = field(default_factory=dict)
    events: list[OrderEvent] = field(default_factory=list)


class InMemoryOrders:
    """A `UnitOfWorkFactory` and an `OrderReader`; units of work run one after the other."""

    def __init__(self) -> None:
        self._tables = _Tables()
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[_UnitOfWork]:
        with self._lock:
            work = _UnitOfWork(deepcopy(self._tables))
            yield work
            if work.committed:
                self._tables = work.tables

    def get(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Order]:
        return _copies(self._tables.orders, order_ids)

    def timelines(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[TimelineEntry]]:
        timelines = self._tables.timelines
        return {id_: list(timelines[id_]) for id_ in order_ids if id_ in timelines}

    @property
    def events(self) -> Sequence[OrderEvent]:
        """What left with the commits, in their order, each as it was then."""
        return list(self._tables.events)

    @property
    def requests(self) -> Sequence[StoredRequest]:
        """What was answered."""
        return list(self._tables.requests.values())

    def forget_requests(self) -> None:
        """Drop what was answered, as the retention does after some days."""
        self._tables.requests.clear()


class _UnitOfWork:
    def __init__(self, tables: _Tables) -> None:
        self.tables = tables
        self.committed = False
        self.orders = _Orders(tables)
        self.requests = InMemoryRequestStore(tables.requests)

    def commit(self, events: Sequence[OrderEvent]) -> None:
        self.tables.events.extend(deepcopy(list(events)))
        self.committed = True


class _Orders:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def add(self, orders: Sequence[Order]) -> set[UUID]:
        new = [order for order in orders if order.order_id not in self._tables.orders]
        self.save(new)
        return {order.order_id for order in new}

    def lock(self, order_ids: Iterable[UUID]) -> Mapping[UUID, Order]:
        return _copies(self._tables.orders, order_ids)

    def save(self, orders: Sequence[Order]) -> None:
        for order in deepcopy(list(orders)):
            self._tables.orders[order.order_id] = order
            entry = TimelineEntry(order.version, order.state, order.update_time, order.rejection)
            self._tables.timelines.setdefault(order.order_id, []).append(entry)


def _copies(rows: Mapping[UUID, Order], order_ids: Iterable[UUID]) -> Mapping[UUID, Order]:
    return {id_: deepcopy(rows[id_]) for id_ in order_ids if id_ in rows}


class InMemoryOrderCache:
    """An `OrderCache`. While it is `away` it knows nothing, as one behind a cut network."""

    def __init__(self) -> None:
        self.away = False
        self._entries: dict[UUID, tuple[int, int, bytes]] = {}
        self._generation = 1
        self._missed_a_mark = False

    def get(self, order_ids: Sequence[UUID]) -> CacheSnapshot:
        if self.away:
            return CacheSnapshot(generation=-1, entries={})
        if self._missed_a_mark:
            self._generation += 1
            self._missed_a_mark = False
        known = {id_: self._entries[id_] for id_ in order_ids if id_ in self._entries}
        return CacheSnapshot(
            self._generation,
            {
                id_: payload
                for id_, (generation, _, payload) in known.items()
                if payload and generation == self._generation
            },
        )

    def put(self, generation: int, orders: Mapping[UUID, tuple[int, bytes]]) -> None:
        if not self.away and generation == self._generation:
            self._write(orders)

    def supersede(self, versions: Mapping[UUID, int]) -> None:
        if self.away and versions:
            self._missed_a_mark = True
        elif not self.away:
            self._write({order_id: (version, b"") for order_id, version in versions.items()})

    def _write(self, orders: Mapping[UUID, tuple[int, bytes]]) -> None:
        for order_id, (version, payload) in orders.items():
            if self._is_newer(order_id, version):
                self._entries[order_id] = (self._generation, version, payload)

    def _is_newer(self, order_id: UUID, version: int) -> bool:
        generation, known_version, payload = self._entries.get(order_id, (0, 0, b""))
        if generation < self._generation or known_version < version:
            return True
        return known_version == version and not payload
