"""`make explain-listing`: what a page of ListOrders costs Postgres among a million orders.

    python -m bench.listing --orders 1000000

Fills a database of its own on a server of its own, lets the service's own lister read the first
page and the last one of each listing, and prints how Postgres came by them.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from trackops_cli.testing import DatabaseTemplate, temporary_stack
from trackops_common.database import Database, Rows
from trackops_order.adapters.order_listings import PostgresOrderLister
from trackops_order.application.list_orders import Listing, Sort
from trackops_order.domain.states import OrderState

_START = datetime(2026, 1, 1, tzinfo=UTC)
_PAGE = 50
_CHUNK = 50_000
_HORIZON = "pg_stat_activity"

_FILL_ORDERS = """
INSERT INTO orders (order_id, customer_id, state, currency_code, total_minor, version, create_time,
                    update_time, rejection_reason)
SELECT gen_random_uuid(), 'c-' || n %% 1000, state, 'EUR', 2000, 5, t, t,
       CASE WHEN state = 'REJECTED' THEN 'PAYMENT_DECLINED' END
  FROM generate_series(%(first)s::int, %(last)s::int) AS n,
       LATERAL (SELECT %(start)s::timestamptz + n * interval '1 s',
                       CASE WHEN n %% 5000 = 0 THEN 'REJECTED' ELSE 'DELIVERED' END)
       AS made(t, state)
"""
"""One a second, of a thousand customers; one in five thousand is REJECTED."""

_FILL_LINES = """
INSERT INTO order_lines (order_id, line_number, sku, quantity, unit_price_minor, create_time)
SELECT order_id, line, 'S-' || abs(hashtext(order_id::text || line)) %% 1000, 1, 1000, create_time
  FROM orders, generate_series(1, 2) AS line
 WHERE create_time >= %(from)s::timestamptz AND create_time < %(to)s::timestamptz
"""
"""Two for each order, of a thousand skus."""

_FILTERS: Mapping[str, Listing] = {
    "all": Listing(),
    "customer": Listing(customer_id="c-7"),
    "sku": Listing(sku="S-7"),
    "customer and sku": Listing(customer_id="c-7", sku="S-7"),
    "state that most have": Listing(states=frozenset({OrderState.DELIVERED})),
    "state that few have": Listing(states=frozenset({OrderState.REJECTED})),
    "one day": Listing(
        create_time_from=_START + timedelta(days=3), create_time_before=_START + timedelta(days=4)
    ),
}

_ROW = "{:<22} {:<13} {:<6} {:>6} {:>7} {:>7}  {}"


class ExplainingDatabase(Database):
    """Keeps the plan of every query, but for the question how far time has come."""

    def __init__(self, url: str) -> None:
        super().__init__(url, application_name="explaining", pool_size=1)
        self.plans: list[str] = []

    def fetch(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        if _HORIZON not in sql:
            lines = super().fetch(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {sql}", parameters)
            self.plans.append("\n".join(line[0] for line in lines))
        return super().fetch(sql, parameters)

    def take_plans(self) -> Sequence[str]:
        """The plans since the last time."""
        plans, self.plans = self.plans, []
        return plans


@dataclass(frozen=True)
class Page:
    """A page of a listing, and what it took."""

    listing: str
    sort: Sort
    page: str
    orders: int
    plans: Sequence[str]

    @property
    def milliseconds(self) -> float:
        return sum(float(found) for found in self._found(r"Execution Time: ([\d.]+)"))

    @property
    def blocks(self) -> int:
        """Hit and read; the first node of a plan has the sum of all."""
        tops = [re.search(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", p) for p in self.plans]
        return sum(int(number or 0) for top in tops if top for number in top.groups())

    @property
    def indexes(self) -> str:
        return ", ".join(
            sorted(set(self._found(r"(?:Index (?:Only )?Scan.* using|on) (\w+_by_\w+)")))
        )

    @property
    def scans_a_table(self) -> bool:
        return any("Seq Scan" in plan for plan in self.plans)

    def _found(self, pattern: str) -> Sequence[str]:
        return [found for plan in self.plans for found in re.findall(pattern, plan)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--plans", action="store_true", help="print every plan, not the table only")
    arguments = parser.parse_args()
    with temporary_stack() as stack:
        stack.postgres.start()
        with (
            DatabaseTemplate(stack).database() as made,
            closing(ExplainingDatabase(made.url("trackops_order"))) as database,
        ):
            _fill(database, arguments.orders)
            pages = list(_pages(database))
    if arguments.plans:
        _print_plans(pages)
    _print_table(pages)


def _fill(database: Database, orders: int) -> None:
    began = time.monotonic()
    for first in range(1, orders + 1, _CHUNK):
        last = min(first + _CHUNK - 1, orders)
        database.execute(_FILL_ORDERS, {"first": first, "last": last, "start": _START})
        bounds = {"from": _moment(first), "to": _moment(last + 1)}
        database.execute(_FILL_LINES, bounds)
    for table in ("orders", "order_lines"):
        database.execute(f"VACUUM ANALYZE {table}")
    seconds = time.monotonic() - began
    print(f"{orders:,} orders and {2 * orders:,} lines in {seconds:.0f} s; pages of {_PAGE}:\n")


def _moment(number: int) -> datetime:
    return _START + timedelta(seconds=number)


def _pages(database: ExplainingDatabase) -> Iterator[Page]:
    lister = PostgresOrderLister(database, clock_skew_seconds=0)
    for name, listing in _FILTERS.items():
        for sort in Sort:
            sorted_listing = replace(listing, sort=sort)
            backwards = next(other for other in Sort if other is not sort)
            last = lister.page(replace(listing, sort=backwards), after=None, size=_PAGE + 1).end
            database.take_plans()
            for page, after in (("first", None), ("last", last)):
                found = lister.page(sorted_listing, after=after, size=_PAGE)
                yield Page(name, sort, page, len(found.orders), database.take_plans())


def _print_plans(pages: Sequence[Page]) -> None:
    for page in pages:
        print(f"-- {page.listing}, {page.sort}, {page.page} page")
        print(*page.plans, sep="\n\n", end="\n\n")


def _print_table(pages: Sequence[Page]) -> None:
    print(_ROW.format("listing", "sort", "page", "orders", "ms", "blocks", "along"))
    for page in pages:
        along = page.indexes + (", AND A WHOLE TABLE" if page.scans_a_table else "")
        ms = f"{page.milliseconds:.1f}"
        print(_ROW.format(page.listing, page.sort, page.page, page.orders, ms, page.blocks, along))


if __name__ == "__main__":
    main()
