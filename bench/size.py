"""Whether it costs more when there is more: a confirmed order, and a page of a listing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

from bench.backlog import rows_written
from bench.figures import Figure, Plot, at_most, compared
from bench.filling import History, leave_room_for_history
from bench.generator import load
from bench.mesh import warm_up
from bench.processes import cpu_seconds_of_all
from bench.run import Run
from bench.tokens import call_as_admin_of
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import temporary_stack, wait_for
from trackops_common.database import Database
from trackops_order.adapters.order_listings import PostgresOrderLister
from trackops_order.application.list_orders import Listing, Place, Sort

__all__ = ["measure"]

_FEW = 10_000
_RATE = 150
_SECONDS = 12
_STUCK_SECONDS = 60
_PAGE = 50
_PAGES = 200
_ROWS_OF_AN_ORDER = 2
"""In the order service's outbox, once it is CONFIRMED."""


def measure(run: Run) -> Iterator[Figure | Plot]:
    with temporary_stack() as stack:
        run.say("starting the whole mesh, with room for history")
        stack.start_servers()
        stack.provision()
        leave_room_for_history(stack)
        stack.start_services()
        call_as_admin_of(stack)
        warm_up(run, stack)
        history = History(stack, run.say)
        sizes = [_FEW, *([run.orders // 10] if run.orders > 10 * _FEW else []), run.orders]
        costs = [_cost_at(run, stack, history, orders) for orders in sizes]
        yield from _cost_figures(sizes, costs)
        yield _cost_plot(sizes, costs)
        yield from _listing(run, stack)


def _cost_at(run: Run, stack: LocalStack, history: History, orders: int) -> Sequence[float]:
    history.grow_to(orders)
    _cost(run, stack)  # caches are warm, and statements prepared, at every size
    return [_cost(run, stack) for _ in run.each_round(f"confirmed orders beside {orders:,}")]


def _cost(run: Run, stack: LocalStack) -> float:
    """Milliseconds of CPU, of all servers and services, for an order from first to last."""
    url = stack.addresses.database_url("trackops_order")
    written, cpu = rows_written(url), cpu_seconds_of_all(stack)
    orders = load(
        run,
        "create-order",
        stack.addresses.services["order"],
        seconds=run.seconds(_SECONDS),
        rate=_RATE,
    ).calls
    wait_for(
        lambda: rows_written(url) >= written + _ROWS_OF_AN_ORDER * orders,
        seconds=_STUCK_SECONDS,
        what="the orders to end",
    )
    return 1000 * (cpu_seconds_of_all(stack) - cpu) / orders


def _cost_figures(sizes: Sequence[int], costs: Sequence[Sequence[float]]) -> Iterator[Figure]:
    cost = Figure(
        "cpu_ms_at_1m_orders",
        f"CPU of a confirmed order among {sizes[-1]:,}, at {_RATE} orders/s",
        "ms",
        costs[-1],
        f"ms among {sizes[0]:,}",
        costs[0],
    )
    yield from compared(
        cost,
        "cost_at_1m_vs_10k",
        f"CPU of a confirmed order among {sizes[-1]:,} ÷ among {sizes[0]:,}",
        aim=at_most(1.2),
    )


def _cost_plot(sizes: Sequence[int], costs: Sequence[Sequence[float]]) -> Plot:
    return Plot(
        "cost_by_size",
        f"CPU of a confirmed order against the orders in the tables, at {_RATE} orders/s",
        "orders in the tables",
        "ms",
        [f"{size:,}" for size in sizes],
        {"all servers and services": [statistics.median(values) for values in costs]},
    )


def _listing(run: Run, stack: LocalStack) -> Iterator[Figure]:
    url = stack.addresses.database_url("trackops_order")
    with closing(Database(url, application_name="bench", pool_size=1)) as database:
        lister = PostgresOrderLister(database, clock_skew_seconds=0)
        oldest = Listing(sort=Sort.OLDEST_FIRST)
        last = lister.page(oldest, after=None, size=_PAGE + 1).end
        rounds = [_pages(lister, last) for _ in run.each_round("pages of ListOrders")]
    page = Figure(
        "list_last_page_ms",
        f"the last page of a listing of {run.orders:,} orders, {_PAGE} of them",
        "ms",
        [of_last for of_last, _ in rounds],
        "ms of the first page",
        [of_first for _, of_first in rounds],
    )
    yield from compared(
        page,
        "list_last_vs_first_page",
        f"last page of {run.orders:,} orders ÷ first page",
        aim=at_most(1.2),
    )


def _pages(lister: PostgresOrderLister, last: Place | None) -> tuple[float, float]:
    """Milliseconds of the last page and of the first, medians of many read in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_PAGES):
        for after, spent in zip((last, None), times, strict=True):
            began = time.monotonic()
            found = lister.page(Listing(), after=after, size=_PAGE)
            spent.append(1000 * (time.monotonic() - began))
            if len(found.orders) != _PAGE:
                raise SystemExit(f"bench: a page of {len(found.orders)} orders")
    return statistics.median(times[0]), statistics.median(times[1])
