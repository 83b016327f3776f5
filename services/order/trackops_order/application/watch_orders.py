"""Show an order as it changes.

The feed says that an order may have changed; what changed is read from the
database, once for all who wait for it at that moment. So an event that comes
twice, late or out of order does no harm, a slow reader needs no queue, and a
change looks the same whether it was seen live or after a reconnect.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from trackops_order.application.ports import EncodeWatched, OrderFeed, OrderReader, TimelineEntry
from trackops_order.domain.errors import OrderError, OrderNotFound, VersionNotReached
from trackops_order.domain.order import Order
from trackops_order.domain.states import FINAL_STATES

__all__ = ["Changes", "Position", "ReadChanges", "WatchOrders"]

_ENTRIES_AT_ONCE = 100
"""Kept for one reader, however slow it is and however much it has to catch up with."""


@dataclass(frozen=True, slots=True)
class Position:
    """How much of an order its watcher has seen; version 0: nothing."""

    order_id: UUID
    after_version: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What comes after a position: nothing, all, or the first part of it."""

    messages: Sequence[bytes]
    """Encoded, oldest first."""
    version: int
    """How much has been seen with them."""
    is_complete: bool
    """Whether there was no more at the time."""
    is_final: bool
    """Whether no more will ever come."""


@dataclass(frozen=True)
class ReadChanges:
    """Reads what comes after many positions at once."""

    reader: OrderReader
    encode: EncodeWatched

    def __call__(self, positions: Sequence[Position]) -> Sequence[Changes | OrderError]:
        beginners = {position.order_id for position in positions if position.after_version == 0}
        # The orders first: then a timeline has at least what its order has.
        orders = self.reader.get(list(beginners)) if beginners else {}
        timelines = self.reader.timelines(list({position.order_id for position in positions}))
        return [self._changes(position, orders, timelines) for position in positions]

    def _changes(
        self,
        position: Position,
        orders: Mapping[UUID, Order],
        timelines: Mapping[UUID, Sequence[TimelineEntry]],
    ) -> Changes | OrderError:
        order_id, after = position.order_id, position.after_version
        order = orders.get(order_id) if after == 0 else None
        timeline = timelines.get(order_id)
        if timeline is None or (after == 0 and order is None):
            return OrderNotFound(order_id)
        last = timeline[-1]
        if after > last.version:
            return VersionNotReached(order_id, min_version=after, version=last.version)
        first = order.version if order else after + 1
        new = [entry for entry in timeline if entry.version >= first][:_ENTRIES_AT_ONCE]
        seen = new[-1].version if new else after
        return Changes(
            [
                self.encode(entry, order if order and entry.version == first else None)
                for entry in new
            ],
            version=seen,
            is_complete=seen == last.version,
            is_final=seen == last.version and last.state in FINAL_STATES,
        )


@dataclass(frozen=True)
class WatchOrders:
    """Follows one order from a position on, until its last change."""

    feed: OrderFeed
    read: Callable[[Position], Awaitable[Changes | Exception]]
    """`ReadChanges` of one position, which may be read together with others."""

    async def __call__(self, position: Position) -> AsyncGenerator[bytes, None]:
        """The encoded changes, each once, in order and without a gap.

        Raises:
            OrderNotFound: no order has this id.
            VersionNotReached: the order has not reached the position.
            ServiceError: reading failed; what came before stands.
        """
        with self.feed.subscribe(position.order_id) as subscription:  # before the first read
            while True:
                changes = await self.read(position)
                if isinstance(changes, Exception):
                    raise changes
                for message in changes.messages:
                    yield message
                if changes.is_final:
                    return
                position = Position(position.order_id, changes.version)
                if changes.is_complete:
                    await subscription.news(above=changes.version)
