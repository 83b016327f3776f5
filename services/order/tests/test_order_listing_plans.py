"""What a page costs in Postgres, at the start and at the end of a listing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trackops_cli.testing import Database as FreshDatabase
from trackops_common.database import Database, Rows
from trackops_order.adapters.order_listings import PostgresOrderLister
from trackops_order.application.list_orders import Listing, Place, Sort
from trackops_order.domain.states import OrderState

START = datetime(2026, 1, 1, tzinfo=UTC)
MANY = 20_000
SIZE = 50
EXAMINED = 500

_FILL = f"""
INSERT INTO orders (order_id, customer_id, state, currency_code, total_minor, version, create_time,
                    update_time)
SELECT gen_random_uuid(), 'c-' || n %% 4, 'CONFIRMED', 'EUR', 1, 1, t, t
  FROM generate_series(1, {MANY}) n, LATERAL (SELECT timestamptz '2026-01-01Z' + n * interval '1 s')
       AS moment(t);
INSERT INTO order_lines (order_id, line_number, sku, quantity, unit_price_minor, create_time)
SELECT order_id, n, 'S-' || n, 1, 1, create_time FROM orders, generate_series(1, 2) n;
"""


class MeasuredDatabase(Database):
    """Explains every query about orders, instead of the question how far time has come."""

    def __init__(self, url: str) -> None:
        super().__init__(url, application_name="measured", pool_size=1)
        self.plans: list[Any] = []

    def fetch(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        if "pg_stat_activity" not in sql:
            explained = super().fetch(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", dict(parameters or {})
            )
            self.plans.append(explained[0][0][0]["Plan"])
        return super().fetch(sql, parameters)

    def blocks(self) -> int:
        """Blocks that the queries since the last time have touched."""
        plans, self.plans = self.plans, []
        return sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans)


@pytest.fixture
def filled(database: FreshDatabase) -> Iterator[MeasuredDatabase]:
    with closing(MeasuredDatabase(database.url("trackops_order"))) as made:
        made.execute(_FILL)
        made.execute("ANALYZE orders")
        made.execute("ANALYZE order_lines")
        yield made


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize(
    ("listing", "index"),
    [
        (Listing(), "orders_by_create_time"),
        (Listing(customer_id="c-1"), "orders_by_customer"),
        (Listing(sku="S-1"), "order_lines_by_sku"),
        (Listing(states=frozenset({OrderState.CONFIRMED})), "orders_by_create_time"),
        (
            Listing(
                create_time_from=START + timedelta(seconds=100),
                create_time_before=START + timedelta(seconds=MANY - 100),
            ),
            "orders_by_create_time",
        ),
        (Listing(customer_id="c-1", sku="S-2"), "orders_by_customer"),
        (Listing(sku="S-2", states=frozenset({OrderState.CONFIRMED})), "order_lines_by_sku"),
    ],
    ids=repr,
)
def test_the_last_page_costs_what_the_first_costs_along_an_index_alone(
    filled: MeasuredDatabase, listing: Listing, index: str, sort: Sort
) -> None:
    lister = PostgresOrderLister(filled, clock_skew_seconds=0)
    listing = replace(listing, sort=sort)
    near_the_end = _end_of_first_page(lister, listing)
    filled.blocks()

    first = lister.page(listing, after=None, size=SIZE)
    plans, first_blocks = json.dumps(filled.plans), filled.blocks()
    last = lister.page(listing, after=near_the_end, size=SIZE)
    last_blocks = filled.blocks()

    assert (len(first.orders), first.end is None) == (SIZE, False)
    assert (len(last.orders), last.end is None) == (SIZE, True)
    assert f'"Index Name": "{index}"' in plans
    assert "Seq Scan" not in plans
    assert last_blocks < 1.5 * first_blocks


@pytest.mark.parametrize("sort", list(Sort))
def test_a_page_of_what_is_not_there_examines_a_bounded_number_of_entries(
    filled: MeasuredDatabase, sort: Sort
) -> None:
    lister = PostgresOrderLister(filled, clock_skew_seconds=0, examined=EXAMINED)
    listing = Listing(sort=sort, states=frozenset({OrderState.REJECTED}))

    page = lister.page(listing, after=None, size=SIZE)

    assert page.orders == []
    assert page.end is not None
    assert filled.blocks() < 10 * EXAMINED


def _end_of_first_page(lister: PostgresOrderLister, listing: Listing) -> Place | None:
    """Of the listing the other way round: the place before the last page of this one."""
    other = Sort.NEWEST_FIRST if listing.sort is Sort.OLDEST_FIRST else Sort.OLDEST_FIRST
    return lister.page(replace(listing, sort=other), after=None, size=SIZE + 1).end
