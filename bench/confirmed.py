"""The whole way, on a whole mesh: from CreateOrder to CONFIRMED, how many and how soon.

As many orders as the mesh can finish: the load holds down how many are on their
way, so that none are accepted that would have to wait, and they are counted in
Postgres. Their cost is that of every server and service; the load's is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2

from bench import pgbench
from bench.backlog import DATABASE_URL
from bench.figures import Figure, at_least, at_most
from bench.generator import generate
from bench.load import WARM_UP_SECONDS
from bench.mesh import all_ended, mesh, warm_up
from bench.processes import cpu_seconds_of_all
from bench.run import Run
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import DatabaseTemplate
from trackops_common.database import Database
from trackops_common.partitions import maintain_outbox, maintain_requests

__all__ = ["measure"]

_SECONDS = 60
_SQL_SECONDS = 6
_SETTLE_SECONDS = 5
_ON_THEIR_WAY = 600
"""Orders at most: what a mesh that reaches its aim finishes in about a second."""
_IN_FLIGHT = 64
_RATE = 100
_RATE_SECONDS = 20

_NAMES = {50: "median", 99: "99th percentile"}

_STATES = """
SELECT count(*) FILTER (WHERE state = 'CONFIRMED'), count(*) FILTER (WHERE state = 'PENDING')
  FROM trackops_order.orders
"""


def measure(run: Run) -> Iterator[Figure]:
    with mesh(run) as stack, _empty_schema(stack) as empty:
        warm_up(run, stack)
        yield from _soon(run, stack)
        yield from _many(run, stack, empty)


@dataclass(frozen=True)
class _Moment:
    at: float
    confirmed: int
    pending: int
    cpu_seconds: float


@dataclass(frozen=True)
class _Round:
    begin: _Moment
    end: _Moment
    bare: pgbench.Transactions

    @property
    def confirmed(self) -> int:
        return self.end.confirmed - self.begin.confirmed

    @property
    def per_s(self) -> float:
        return self.confirmed / (self.end.at - self.begin.at)

    @property
    def cpu_ms(self) -> float:
        return 1000 * (self.end.cpu_seconds - self.begin.cpu_seconds) / self.confirmed


def _many(run: Run, stack: LocalStack, empty: str) -> Iterator[Figure]:
    seconds = run.seconds(_SECONDS)
    rounds = [
        _many_once(run, stack, empty, seconds)
        for _ in run.each_round(f"as many orders as can be confirmed, {seconds} s")
    ]
    yield Figure(
        "confirmed_orders_per_s",
        f"orders that became CONFIRMED, sustained for {seconds} s",
        "/s",
        [one.per_s for one in rounds],
        "transactions/s of pgbench, the rows of CreateOrder only",
        [one.bare.per_s for one in rounds],
        at_least(500),
    )
    yield Figure(
        "confirmed_backlog_growth",
        "orders on their way at the end, less those at the beginning",
        "orders",
        [one.end.pending - one.begin.pending for one in rounds],
    )
    yield Figure(
        "cpu_ms_per_confirmed_order",
        "CPU of a confirmed order, all servers and services",
        "ms",
        [one.cpu_ms for one in rounds],
        "ms of Postgres for such a transaction",
        [one.bare.cpu_ms for one in rounds],
        at_most(3),
    )


def _many_once(run: Run, stack: LocalStack, empty: str, seconds: int) -> _Round:
    bare = pgbench.orders(stack, seconds=run.seconds(_SQL_SECONDS), url=empty)
    words = ("create-order", stack.addresses.services["order"], "--backlog", _ON_THEIR_WAY)
    lengths = ("--in-flight", _IN_FLIGHT, "--seconds", seconds + 2 * _SETTLE_SECONDS)
    url = {DATABASE_URL: stack.addresses.database_url("trackops_order")}
    with ThreadPoolExecutor(max_workers=1) as beside:
        load = beside.submit(generate, run, "bench.load", *words, *lengths, environment=url)
        time.sleep(WARM_UP_SECONDS + _SETTLE_SECONDS)
        begin = _observe(stack, counting_first=True)
        time.sleep(seconds)
        end = _observe(stack, counting_first=False)
        load.result()
    all_ended(stack)
    return _Round(begin, end, bare)


def _observe(stack: LocalStack, *, counting_first: bool) -> _Moment:
    """What the counting costs is no part of what is measured, at the beginning nor at the end."""
    before = (time.monotonic(), cpu_seconds_of_all(stack))
    with closing(psycopg2.connect(stack.admin_url)) as connection, connection.cursor() as cursor:
        cursor.execute(_STATES)
        confirmed, pending = cursor.fetchone() or (0, 0)
    at, cpu = (time.monotonic(), cpu_seconds_of_all(stack)) if counting_first else before
    return _Moment(at, confirmed, pending, cpu)


@contextmanager
def _empty_schema(stack: LocalStack) -> Iterator[str]:
    """The order service's, in a database beside the mesh's: nobody acts on what is written there.

    Yields its URL.
    """
    with DatabaseTemplate(stack).database() as made:
        url = made.url("trackops_order")
        with closing(Database(url, application_name="bench")) as database:
            maintain_outbox(database)
            maintain_requests(database)
        yield url


def _soon(run: Run, stack: LocalStack) -> Iterator[Figure]:
    rounds = [_soon_once(run, stack) for _ in run.each_round(f"{_RATE} orders/s, each watched")]
    for percent, aim in ((50, at_most(60)), (99, at_most(250))):
        yield Figure(
            f"confirm_p{percent}_ms",
            f"CreateOrder sent → WatchOrder says CONFIRMED, at {_RATE} orders/s: {_NAMES[percent]}",
            "ms",
            _column(rounds, f"p{percent}_ms"),
            "ms until CreateOrder answers",
            _column(rounds, f"created_p{percent}_ms"),
            aim,
        )


def _soon_once(run: Run, stack: LocalStack) -> dict[str, Any]:
    words = (stack.addresses.services["order"], "--rate", _RATE)
    return generate(run, "bench.journeys", *words, "--seconds", run.seconds(_RATE_SECONDS))


def _column(rounds: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [one[name] for one in rounds]
