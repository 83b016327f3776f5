"""Listings of the orders in Postgres, page by page along an index.

A page begins where the last one ended (keyset), so the first and the last page
of a million orders cost the same. Of `customer_id`, `sku` and nothing, the
first that is given chooses the index; the rest of the filter is compared along
the way, on at most `examined` entries a page: a rare state makes short pages,
not slow ones, and needs no index, which would cost every later change of an
order its heap-only update.

`create_time` is taken before the commit, so an order may appear before one
that was already visible. Newest first that does no harm: it is new and was not
there when the listing began. Oldest first it would be missed by whoever has
passed its place, so these pages end at a horizon: the begin of the oldest
transaction that the service's role has open, less what clocks may differ. A
unit of work takes its time after it has begun, and Postgres takes a
transaction off the list only after its rows are visible. So whatever is not
visible to the query, which is sent after the horizon is known, has a later
`create_time` than the horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from trackops_common import arrays
from trackops_common.database import Database
from trackops_order.adapters.postgres import SELECT_BRIEF_ORDERS, orders_of
from trackops_order.application.list_orders import Listing, OrderPage, Place, Sort
from trackops_order.domain.order import Order

__all__ = ["PostgresOrderLister"]

_EXAMINED = 5_000

_HORIZON = """
SELECT least(statement_timestamp(), min(xact_start))
  FROM pg_stat_activity
 WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()
"""

_HAS_STATE = """
(SELECT state FROM orders WHERE orders.order_id = examined.order_id) = ANY(%(states)s::text[])
"""

_HAS_SKU = """
(SELECT count(*) FROM order_lines
  WHERE order_lines.order_id = examined.order_id AND sku = %(sku)s) > 0
"""
"""Sub-selects that yield a value are looked up entry by entry, whatever the statistics say."""

_BOUND = {
    "customer_id": "%(customer_id)s",
    "sku": "%(sku)s",
    "from": "%(from)s::timestamptz",
    "before": "%(before)s::timestamptz",
    "after_time": "%(after_time)s::timestamptz",
    "after_id": "%(after_id)s::uuid",
}


class PostgresOrderLister:
    """An `OrderLister` on committed rows."""

    def __init__(
        self, database: Database, *, clock_skew_seconds: float, examined: int = _EXAMINED
    ) -> None:
        """`clock_skew_seconds` is how far the services' clocks and Postgres's may be apart."""
        self._database = database
        self._clock_skew = timedelta(seconds=clock_skew_seconds)
        self._examined = examined

    def page(self, listing: Listing, *, after: Place | None, size: int) -> OrderPage:
        horizon = self._horizon() if listing.sort is Sort.OLDEST_FIRST else None
        query = _Query(listing, after, horizon, self._examined)
        rows = self._database.fetch(query.orders(), query.parameters | {"limit": size + 1})
        orders = list(orders_of(rows).values())
        if len(orders) > size:
            return OrderPage(orders[:size], _place(orders[size - 1]))
        return OrderPage(orders, self._end_of_examined(query, orders))

    def _horizon(self) -> datetime:
        oldest: datetime = self._database.fetch(_HORIZON)[0][0]
        return oldest - self._clock_skew

    def _end_of_examined(self, query: _Query, orders: Sequence[Order]) -> Place | None:
        """Where a page that is not full has to go on, unless there is nothing beyond.

        An order that arrives between the two queries can only bring this end nearer; what was
        shown is never gone through again.
        """
        if not query.rest:
            return None
        rows = self._database.fetch(query.end_of_examined(), query.parameters)
        if not rows or rows[0][2] < self._examined:
            return None
        end = Place(rows[0][0], rows[0][1])
        return query.further(end, _place(orders[-1])) if orders else end


@dataclass(frozen=True)
class _Query:
    """The statements of one page."""

    listing: Listing
    after: Place | None
    horizon: datetime | None
    examined: int
    """Entries that a page may examine."""

    @property
    def rest(self) -> Sequence[str]:
        """Conditions that the index does not know."""
        rest = []
        if self.listing.states:
            rest.append(_HAS_STATE)
        if self.listing.sku is not None and self.listing.customer_id is not None:
            rest.append(_HAS_SKU)
        return rest

    def orders(self) -> str:
        """The rows of the page, and of one order more."""
        return f"""
{SELECT_BRIEF_ORDERS} WHERE order_id = ANY(ARRAY(
    SELECT order_id FROM ({self._entries()}) AS examined
     WHERE {" AND ".join(self.rest) or "true"}
     ORDER BY {self._by(*self._key)} LIMIT %(limit)s))
 ORDER BY {self._by("create_time", "order_id")}
"""  # noqa: S608 - fragments of this module; values are bound

    def end_of_examined(self) -> str:
        """The last entry that the page may examine, and how many there are."""
        back = "ASC" if self._newest_first else "DESC"
        return f"""
SELECT create_time, order_id, count(*) OVER () FROM ({self._entries()}) AS examined
 ORDER BY create_time {back}, order_id {back} LIMIT 1
"""  # noqa: S608 - fragments of this module; values are bound

    def further(self, one: Place, other: Place) -> Place:
        """The one that the listing comes to later."""
        return (min if self._newest_first else max)(one, other)

    @property
    def _newest_first(self) -> bool:
        return self.listing.sort is Sort.NEWEST_FIRST

    @property
    def _key(self) -> Sequence[str]:
        """The columns of the index."""
        if self.listing.customer_id is not None:
            return ("customer_id", "create_time", "order_id")
        if self.listing.sku is not None:
            return ("sku", "create_time", "order_id")
        return ("create_time", "order_id")

    def _by(self, *columns: str) -> str:
        direction = "DESC" if self._newest_first else "ASC"
        return ", ".join(f"{column} {direction}" for column in columns)

    def _entries(self) -> str:
        """The entries of the index that the page may examine.

        An equality for the first column would leave the planner free to walk an index by time
        and to hope that the customer comes along soon; two bounds and the whole key to sort by
        leave it this index only.
        """
        limit = "examined" if self.rest else "limit"
        return f"""
SELECT {", ".join(self._key)} FROM {"order_lines" if self._key[0] == "sku" else "orders"}
 WHERE {" AND ".join([*self._from(), *self._to()]) or "true"}
 ORDER BY {self._by(*self._key)} LIMIT %({limit})s
"""  # noqa: S608 - fragments of this module; values are bound

    def _from(self) -> Sequence[str]:
        """The lower bound: one condition, because of several the scan might begin at any."""
        if self.after and not self._newest_first:
            return self._compared(">", "after_time", "after_id")
        return self._compared(">=", "from") if self.listing.create_time_from else self._edge(">=")

    def _to(self) -> Sequence[str]:
        """The upper bound: one condition, too."""
        if self.after and self._newest_first:
            return self._compared("<", "after_time", "after_id")
        return self._compared("<", "before") if self._before else self._edge("<=")

    @property
    def _before(self) -> datetime | None:
        bounds = (self.listing.create_time_before, self.horizon)
        return min((bound for bound in bounds if bound is not None), default=None)

    def _edge(self, sign: str) -> Sequence[str]:
        return self._compared(sign) if len(self._key) > 2 else []

    def _compared(self, sign: str, *values: str) -> Sequence[str]:
        """The key, as far as `values` go, against them."""
        bound = [_BOUND[name] for name in (*self._key[:-2], *values)]
        return [f"({', '.join(self._key[: len(bound)])}) {sign} ({', '.join(bound)})"]

    @property
    def parameters(self) -> dict[str, Any]:
        listing, after = self.listing, self.after
        return {
            "customer_id": listing.customer_id,
            "sku": listing.sku,
            "states": arrays.texts(listing.states),
            "from": listing.create_time_from,
            "before": self._before,
            "examined": self.examined,
            "after_time": after and after.create_time,
            "after_id": after and str(after.order_id),
        }


def _place(order: Order) -> Place:
    return Place(order.create_time, order.order_id)
