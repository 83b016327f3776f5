"""The order service's world in memory, and the service itself as a process.

Each fake passes the suite of the real adapter.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from trackops.order.v1 import order_pb2, order_saga_service_pb2, order_service_pb2
from trackops.order.v1.order_saga_service_pb2_grpc import OrderSagaServiceStub
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_common.clock import Clock
from trackops_common.idempotency import StoredRequest
from trackops_common.testing import InMemoryRequestStore, ManualClock, ServiceProcess
from trackops_common.testing_tokens import authorized_channel
from trackops_order.adapters.subscriptions import Subscription, Subscriptions
from trackops_order.application.list_orders import Listing, OrderPage, Place, Sort
from trackops_order.application.ports import CachedOrder, CacheSnapshot, TimelineEntry
from trackops_order.domain.details import OrderDetails
from trackops_order.domain.events import (
    OrderEvent,
    OrderPlaced,
    OrderReturned,
    OrderShipped,
    reason_of,
)
from trackops_order.domain.goods import OrderLine
from trackops_order.domain.order import Order

__all__ = [
    "NO_KAFKA",
    "InMemoryOrderCache",
    "InMemoryOrderFeed",
    "InMemoryOrders",
    "OrderServer",
    "OrderServices",
    "close_request",
    "confirm_request",
    "create_request",
    "placed",
]

NO_KAFKA = "127.0.0.1:1"
"""For services whose orders nobody watches."""


def placed(
    *,
    order_id: UUID | None = None,
    customer_id: str = "customer-1",
    currency_code: str = "EUR",
    lines: Sequence[OrderLine] = (OrderLine("TEA-1", 2, 350), OrderLine("CUP-1", 1, 1200)),
    details: OrderDetails | None = None,
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC),
) -> OrderPlaced:
    """The fact of a new order, by default one of 2 TEA-1 and 1 CUP-1 for 19.00 EUR."""
    return Order.place(
        order_id or uuid.uuid4(),
        customer_id=customer_id,
        currency_code=currency_code,
        lines=lines,
        payment_method_token="tok_ok",  # noqa: S106 - the name of a method, no secret
        details=details,
        now=now,
    )


@dataclass
class _Tables:
    orders: dict[UUID, Order] = field(default_factory=dict)
    timelines: dict[UUID, list[TimelineEntry]] = field(default_factory=dict)
    requests: dict[UUID, StoredRequest] = field(default_factory=dict)
    events: list[OrderEvent] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)


class InMemoryOrders:
    """A `UnitOfWorkFactory`, an `OrderReader` and an `OrderLister`.

    Units of work run one after the other, so none commits late.
    """

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

    def page(self, listing: Listing, *, after: Place | None, size: int) -> OrderPage:
        places = {
            Place(order.create_time, order.order_id): order
            for order in self._tables.orders.values()
            if _matches(order, listing)
        }
        newest_first = listing.sort is Sort.NEWEST_FIRST
        beyond = [
            place
            for place in sorted(places, reverse=newest_first)
            if after is None or (place < after if newest_first else place > after)
        ]
        orders = [deepcopy(replace(places[place], details=None)) for place in beyond[:size]]
        return OrderPage(orders, beyond[size - 1] if len(beyond) > size else None)

    @property
    def events(self) -> Sequence[OrderEvent]:
        """What left with the commits, in their order, each as it was then."""
        return list(self._tables.events)

    @property
    def traces(self) -> Sequence[str]:
        """The `traceparent` that left with each of them."""
        return list(self._tables.traces)

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

    def commit(self, events: Sequence[OrderEvent], traces: Sequence[str] = ()) -> None:
        self.tables.events.extend(deepcopy(list(events)))
        self.tables.traces.extend(traces or [""] * len(events))
        self.committed = True


class _Orders:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def add(self, orders: Sequence[Order]) -> set[UUID]:
        new = [order for order in orders if order.order_id not in self._tables.orders]
        for order in new:
            self._store(order, TimelineEntry(order.version, order.state, order.create_time))
        return {order.order_id for order in new}

    def lock(self, order_ids: Iterable[UUID]) -> Mapping[UUID, Order]:
        return _copies(self._tables.orders, order_ids)

    def save(self, events: Sequence[OrderEvent]) -> None:
        for event in events:
            self._store(event.order, _timeline_entry(event))

    def _store(self, order: Order, entry: TimelineEntry) -> None:
        self._tables.orders[order.order_id] = deepcopy(order)
        self._tables.timelines.setdefault(order.order_id, []).append(entry)


def _timeline_entry(event: OrderEvent) -> TimelineEntry:
    order = event.order
    return TimelineEntry(
        order.version,
        order.state,
        order.update_time,
        order.rejection,
        event.shipment if isinstance(event, OrderShipped) else None,
        event.goods_return if isinstance(event, OrderReturned) else None,
        reason_of(event),
    )


def _matches(order: Order, listing: Listing) -> bool:
    first, before = listing.create_time_from, listing.create_time_before
    return (
        listing.customer_id in (None, order.customer_id)
        and (not listing.states or order.state in listing.states)
        and (first is None or order.create_time >= first)
        and (before is None or order.create_time < before)
        and (listing.sku is None or listing.sku in {line.sku for line in order.lines})
    )


def _copies(rows: Mapping[UUID, Order], order_ids: Iterable[UUID]) -> Mapping[UUID, Order]:
    return {id_: deepcopy(rows[id_]) for id_ in order_ids if id_ in rows}


class _Entry(NamedTuple):
    generation: int
    version: int
    payload: bytes
    expiry: datetime


class InMemoryOrderCache:
    """An `OrderCache`. While it is cut off it knows nothing, and then forgets what it knew."""

    def __init__(self, clock: Clock | None = None) -> None:
        """`clock` ends the entries' lives; without one they never end."""
        self._clock = clock or ManualClock()
        self._away = False
        self._entries: dict[UUID, _Entry] = {}
        self._generation = 1

    def get(self, order_ids: Sequence[UUID]) -> CacheSnapshot:
        if self._away:
            return CacheSnapshot(generation=-1, entries={})
        now = self._clock.now()
        known = {id_: entry for id_ in order_ids if (entry := self._living(id_))}
        return CacheSnapshot(
            self._generation,
            {
                id_: CachedOrder(one.version, one.payload, (one.expiry - now).total_seconds())
                for id_, one in known.items()
                if one.generation == self._generation and (one.payload or one.version == 0)
            },
        )

    def put(self, generation: int, orders: Mapping[UUID, tuple[int, bytes]]) -> int:
        if self._away or generation < 0:
            return 0
        return self._write(orders) if generation == self._generation else len(orders)

    def supersede(self, versions: Mapping[UUID, int]) -> None:
        if not self._away:
            self._write({order_id: (version, b"") for order_id, version in versions.items()})

    def cut(self) -> None:
        """Take it away, as a network that fails does."""
        self._away = True

    def restore(self) -> None:
        """Bring it back."""
        self._away = False
        self._generation += 1

    def _write(self, orders: Mapping[UUID, tuple[int, bytes]]) -> int:
        refused = 0
        for order_id, (version, payload) in orders.items():
            if self._is_newer(order_id, version, payload):
                expiry = self._clock.now() + timedelta(seconds=30 if version else 1)
                self._entries[order_id] = _Entry(self._generation, version, payload, expiry)
            else:
                refused += 1
        return refused

    def _is_newer(self, order_id: UUID, version: int, payload: bytes) -> bool:
        known = self._living(order_id)
        if known is None or known.generation < self._generation or known.version < version:
            return True
        return known.version == version and bool(payload or not known.payload)

    def _living(self, order_id: UUID) -> _Entry | None:
        entry = self._entries.get(order_id)
        return entry if entry and entry.expiry > self._clock.now() else None


class InMemoryOrderFeed:
    """An `OrderFeed` that hears what it is told."""

    def __init__(self) -> None:
        self._subscriptions = Subscriptions()

    def subscribe(self, order_id: UUID) -> AbstractContextManager[Subscription]:
        return self._subscriptions.subscribe(order_id)

    def tell(self, versions: Mapping[UUID, int]) -> None:
        self._subscriptions.hear({str(one).encode(): versions[one] for one in versions})

    def publish(self, order_id: UUID, version: int) -> None:
        """An event of the order arrives."""
        self.tell({order_id: version})

    def begin_anew(self) -> None:
        """It takes up its place again, not knowing what it missed."""
        self._subscriptions.doubt_all()


def create_request(
    *, request_id: str | None = None, customer_id: str = "customer-1", lines: int = 3
) -> order_service_pb2.CreateOrderRequest:
    """A valid request, under a new id unless one is given."""
    return order_service_pb2.CreateOrderRequest(
        request_id=request_id or str(uuid.uuid4()),
        customer_id=customer_id,
        currency_code="EUR",
        lines=[
            order_pb2.OrderLine(sku=f"SKU-{number}", quantity=number, unit_price_minor=100)
            for number in range(1, lines + 1)
        ],
        payment_method_token="tok_ok",  # noqa: S106 - the name of a method, no secret
    )


def confirm_request(
    order_id: str, request_id: str | None = None
) -> order_saga_service_pb2.ConfirmOrderRequest:
    """A valid request, under a new id unless one is given."""
    return order_saga_service_pb2.ConfirmOrderRequest(
        request_id=request_id or str(uuid.uuid4()), order_id=order_id
    )


def close_request(
    order_id: str, request_id: str | None = None
) -> order_saga_service_pb2.CloseOrderRequest:
    """A valid request, under a new id unless one is given, because a card was declined."""
    return order_saga_service_pb2.CloseOrderRequest(
        request_id=request_id or str(uuid.uuid4()),
        order_id=order_id,
        reason="PAYMENT_DECLINED",
        message="the card was declined",
    )


class OrderServer:
    """An order service as a process, and stubs for it."""

    def __init__(self, process: ServiceProcess, target: str, database_url: str) -> None:
        self.process = process
        self.target = target
        self.database_url = database_url
        self.channel = authorized_channel(target)
        self.orders = OrderServiceStub(self.channel)
        self.sagas = OrderSagaServiceStub(self.channel)


class OrderServices:
    """Starts order services as processes, their logs in `folder`; `close` kills what is left."""

    def __init__(self, folder: Path, *, free_port: Callable[[], int]) -> None:
        self._folder = folder
        self._free_port = free_port
        self._processes: list[ServiceProcess] = []
        self._servers: list[OrderServer] = []

    def spawn(self, settings: Mapping[str, str]) -> ServiceProcess:
        """One with these settings and no others, however it fares."""
        log = self._folder / f"order-{len(self._processes)}.log"
        process = ServiceProcess("trackops_order", settings, log)
        self._processes.append(process)
        return process

    def settings(
        self, database_url: str, redis_url: str, *, kafka: str = NO_KAFKA
    ) -> dict[str, str]:
        """What a service needs to be told, with an address that is free."""
        return {
            "TRACKOPS_LISTEN": f"127.0.0.1:{self._free_port()}",
            "TRACKOPS_DATABASE_URL": database_url,
            "TRACKOPS_REDIS_URL": redis_url,
            "TRACKOPS_KAFKA_BOOTSTRAP_SERVERS": kafka,
            "TRACKOPS_PAGE_TOKEN_KEY": "a key for tests, which is no secret",
            "TRACKOPS_CLOCK_SKEW_SECONDS": "0",
        }

    def serve(
        self,
        database_url: str,
        redis_url: str,
        *,
        kafka: str = NO_KAFKA,
        more: Mapping[str, str] | None = None,
    ) -> OrderServer:
        """One that serves, with `more` settings by environment variable."""
        settings = self.settings(database_url, redis_url, kafka=kafka) | dict(more or {})
        process = self.spawn(settings)
        process.wait_logged("serving")
        server = OrderServer(process, settings["TRACKOPS_LISTEN"], database_url)
        self._servers.append(server)
        return server

    def close(self) -> None:
        for server in self._servers:
            server.channel.close()
        for process in self._processes:
            process.kill()
