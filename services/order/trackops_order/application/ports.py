"""What the use cases need of the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from trackops_common.idempotency import RequestStore
from trackops_order.domain.events import OrderEvent
from trackops_order.domain.goods import GoodsReturn, Shipment
from trackops_order.domain.order import Order, Rejection
from trackops_order.domain.states import OrderState

__all__ = [
    "CacheSnapshot",
    "CachedOrder",
    "EncodeChange",
    "EncodeOrder",
    "EncodeTimeline",
    "EncodeWatched",
    "OrderCache",
    "OrderFeed",
    "OrderReader",
    "OrderRepository",
    "Subscription",
    "TimelineEntry",
    "UnitOfWork",
    "UnitOfWorkFactory",
]

EncodeOrder = Callable[[Order], bytes]
"""An order as the response message that shows it, in wire form."""

EncodeChange = Callable[[OrderEvent], bytes]
"""A fact as the response of the RPC that made it one, in wire form."""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """A state that an order entered."""

    version: int
    state: OrderState
    enter_time: datetime
    rejection: Rejection | None = None
    shipment: Shipment | None = None
    goods_return: GoodsReturn | None = None
    reason: str = ""
    """Why it was entered, for people, where somebody said so."""


EncodeTimeline = Callable[[Sequence[TimelineEntry]], bytes]
"""A timeline as the response message that shows it, in wire form."""

EncodeWatched = Callable[[TimelineEntry, Order | None], bytes]
"""A change, and for a watcher's first the order after it, as the message of a watch, in wire form.
"""


class OrderRepository(Protocol):
    """The orders, within one unit of work."""

    def add(self, orders: Sequence[Order]) -> set[UUID]:
        """Store new orders; the ids of those whose id was free. The others change nothing."""
        ...

    def lock(self, order_ids: Iterable[UUID]) -> Mapping[UUID, Order]:
        """The orders that exist, locked until the end of the unit of work."""
        ...

    def save(self, events: Sequence[OrderEvent]) -> None:
        """Store what happened to locked orders; the events of one order stand oldest first."""
        ...


class UnitOfWork(Protocol):
    """One transaction; rolled back unless committed."""

    @property
    def orders(self) -> OrderRepository: ...
    @property
    def requests(self) -> RequestStore: ...

    def commit(self, events: Sequence[OrderEvent], traces: Sequence[str] = ()) -> None:
        """End the unit of work; the events leave with it, in this order.

        `traces` has the `traceparent` of each event's request, or is empty: none has one.
        """
        ...


UnitOfWorkFactory = Callable[[], AbstractContextManager[UnitOfWork]]


class OrderReader(Protocol):
    """Reads committed orders."""

    def get(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Order]:
        """The orders that exist."""
        ...

    def timelines(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[TimelineEntry]]:
        """The states that each existing order entered, oldest first."""
        ...


class CachedOrder(NamedTuple):
    """An order as it was last read."""

    version: int
    """0: no order has this id."""
    encoded: bytes
    """Empty at version 0."""
    seconds_left: float = 0.0
    """Until the cache forgets it."""


@dataclass(frozen=True, slots=True)
class CacheSnapshot:
    """What a cache had, and the generation it had it in."""

    generation: int
    """-1 where the cache did not answer."""
    entries: Mapping[UUID, CachedOrder]


class OrderCache(Protocol):
    """Encoded orders by id. It may forget, and it never raises."""

    def get(self, order_ids: Sequence[UUID]) -> CacheSnapshot:
        """What is known of `order_ids`."""
        ...

    def put(self, generation: int, orders: Mapping[UUID, tuple[int, bytes]]) -> int:
        """Remember (version, encoded order), read after a `get` of this generation.

        (0, b"") says, for a shorter time, that there is no such order. The same
        version again starts a new lifetime. Refused where a newer version is
        known or the generation has passed. Returns how many were refused.
        """
        ...

    def supersede(self, versions: Mapping[UUID, int]) -> None:
        """Forget every version older than the one just committed, and refuse it from now on.

        An older version is also that there is no such order.
        """
        ...


class Subscription(Protocol):
    """One watcher's ear on one order."""

    async def news(self, *, above: int) -> None:
        """Wait until the order may have a version above this one.

        Returns for every change that was committed after the subscription
        began, sooner or later, and at times for none. What returned once need
        not return again: read the order after this, not before.
        """
        ...


class OrderFeed(Protocol):
    """Hears of changes to orders, made by whichever replica: of all in time, of those made here at
    once."""

    def subscribe(self, order_id: UUID) -> AbstractContextManager[Subscription]:
        """An ear on one order, for as long as the context lasts."""
        ...

    def tell(self, versions: Mapping[UUID, int]) -> None:
        """These orders have these versions, committed here. From any thread."""
        ...
