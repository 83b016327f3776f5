"""Show orders, from the cache where it has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from trackops_common.errors import TransientError
from trackops_order.application.ports import CachedOrder, EncodeOrder, OrderCache, OrderReader
from trackops_order.domain.errors import OrderNotFound, VersionNotReached

__all__ = ["CacheUse", "GetOrders", "ReadOrder", "ReadOutcome"]

Later = Callable[[Callable[[], None]], None]
"""Has work done in the background, soon."""

ReadOutcome = bytes | OrderNotFound | VersionNotReached


class ReadOrder(NamedTuple):
    """Show one order, at `min_version` or a later one."""

    order_id: UUID
    min_version: int = 0
    owner: str = ""
    """The customer whose orders alone exist for the reader; empty: anybody's."""


@dataclass
class CacheUse:
    """What became of the look-ups since the start: one an order and batch, one batch at a time."""

    hits: int = 0
    """The cache knew the order, or that there is none."""
    misses: int = 0
    """Unknown to the cache: read from Postgres."""
    stale: int = 0
    """The cache knew an older version than was asked for: read from Postgres."""
    early_refreshes: int = 0
    """Hits that were read from Postgres too, in the background, before they expired."""
    late_writes: int = 0
    """Read from Postgres, and refused by the cache because something newer had happened."""


@dataclass(frozen=True)
class GetOrders:
    """Reads many orders at once; those that the cache lacks with one query.

    Run by one batcher, one batch after the other: however many callers ask for
    an order at once, one of the batches reads it and the next ones find it.

    What it finds with less than `lead_seconds()` to live, thrown once a batch, is
    refreshed early. With an exponentially distributed lead, the more an order is
    asked for the earlier that happens, once, and hot orders never expire
    (probabilistic early expiration: Vattani et al., VLDB 2015).
    """

    reader: OrderReader
    cache: OrderCache
    encode: EncodeOrder
    customer_of: Callable[[bytes], str]
    """Whose order it is that was encoded."""
    later: Later
    lead_seconds: Callable[[], float]
    use: CacheUse = field(default_factory=CacheUse)
    _refreshing: set[UUID] = field(default_factory=set)

    def __call__(self, reads: Sequence[ReadOrder]) -> Sequence[ReadOutcome]:
        wanted: dict[UUID, int] = {}
        for order_id, min_version, _ in reads:
            if min_version > wanted.get(order_id, -1):
                wanted[order_id] = min_version
        snapshot = self.cache.get(list(wanted))
        found = snapshot.entries
        missing = [
            order_id
            for order_id, min_version in wanted.items()
            if (known := found.get(order_id)) is None or known.version < min_version
        ]
        self.use.hits += len(wanted) - len(missing)
        stale = sum(1 for order_id in missing if order_id in found)
        self.use.misses += len(missing) - stale
        self.use.stale += stale
        self._refresh_early(found, snapshot.generation)
        if missing:
            found = {**found, **self._read_through(missing, snapshot.generation)}
        return [self._outcome(read, found[read.order_id]) for read in reads]

    def _read_through(self, missing: Sequence[UUID], generation: int) -> dict[UUID, CachedOrder]:
        orders = self.reader.get(missing)
        read = {
            id_: CachedOrder(orders[id_].version, self.encode(orders[id_]))
            if id_ in orders
            else CachedOrder(version=0, encoded=b"")
            for id_ in missing
        }
        entries = {id_: (one.version, one.encoded) for id_, one in read.items()}
        self.use.late_writes += self.cache.put(generation, entries)
        return read

    def _refresh_early(self, found: Mapping[UUID, CachedOrder], generation: int) -> None:
        lead = self.lead_seconds()
        due = [
            order_id
            for order_id, one in found.items()
            if one.seconds_left < lead and one.version and order_id not in self._refreshing
        ]
        if due:
            self.use.early_refreshes += len(due)
            self._refreshing.update(due)
            self.later(lambda: self._refresh(due, generation))

    def _refresh(self, due: Sequence[UUID], generation: int) -> None:
        try:
            self._read_through(due, generation)
        except TransientError:
            pass  # what is cached stays right, and the next reader may try again
        finally:
            self._refreshing.difference_update(due)

    def _outcome(self, read: ReadOrder, found: CachedOrder) -> ReadOutcome:
        if found.version == 0 or (read.owner and read.owner != self.customer_of(found.encoded)):
            return OrderNotFound(read.order_id)
        if found.version < read.min_version:
            return VersionNotReached(
                read.order_id, min_version=read.min_version, version=found.version
            )
        return found.encoded
