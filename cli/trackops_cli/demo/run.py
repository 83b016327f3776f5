"""The demo from its plan to its verdict."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing, closing

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from trackops.order.v1.order_pb2 import Order

from trackops_cli.demo import checks, show
from trackops_cli.demo.client import DemoClient, PlacedOrder
from trackops_cli.demo.log import EventLog, LoggedEvent
from trackops_cli.demo.plan import Plan, make_plan
from trackops_cli.local.mesh import Addresses

__all__ = ["run_demo"]

_END_SECONDS = 60.0
_EVENTS_SECONDS = 30.0


async def run_demo(addresses: Addresses, token: Callable[[], str], console: Console) -> bool:
    """Order, follow, show and check; whether everything was as it must be.

    `token` gives an administrator's.
    """
    plan = make_plan(uuid.uuid4().hex[:6].upper(), random.Random())  # noqa: S311 - variety
    with closing(EventLog(addresses.kafka)) as log:
        client = DemoClient(addresses.services, token, addresses.credentials)
        async with aclosing(client):
            return await _Demo(plan, client, log, console).run()


class _Demo:
    def __init__(self, plan: Plan, client: DemoClient, log: EventLog, console: Console) -> None:
        self._plan = plan
        self._client = client
        self._log = log
        self._console = console

    async def run(self) -> bool:
        placed, orders = await self._place_and_follow()
        events = self._log.read(
            orders.keys(),
            enough=lambda events: checks.events_complete(orders, events),
            timeout_seconds=_EVENTS_SECONDS,
        )
        levels = await self._client.stock(list(self._plan.stock))
        self._console.print(show.outcome_table(placed, orders))
        await self._show_timelines(orders, events)
        return self._verdict(
            {
                "every call was answered as planned": checks.check_answers(placed),
                "every order came to its planned end": checks.check_outcomes(
                    self._plan, placed, orders
                ),
                "stock adds up": checks.check_stock(self._plan, orders, levels),
                "Kafka has each order's events, complete, in order, once": checks.check_events(
                    orders, events
                ),
            },
            facts=f"{len(orders)} orders, {sum(map(len, events.values()))} events",
        )

    async def _place_and_follow(self) -> tuple[list[PlacedOrder], dict[str, Order]]:
        await self._client.fill_shelves(self._plan.stock)
        with self._progress() as progress:
            placing = progress.add_task("placing orders", total=len(self._plan.orders))
            placed = await self._client.place(self._plan.orders, lambda: progress.advance(placing))
            accepted = [one.order_id for one in placed if one.order_id]
            ending = progress.add_task("coming to an end", total=len(accepted))
            ended = await self._client.follow(
                accepted,
                lambda number: progress.advance(ending, number),
                timeout_seconds=_END_SECONDS,
            )
        return placed, ended

    async def _show_timelines(
        self, orders: Mapping[str, Order], events: Mapping[str, list[LoggedEvent]]
    ) -> None:
        for wanted in ({("CONFIRMED", "")}, {("REJECTED", "PAYMENT_DECLINED")}):
            order_id = next((id_ for id_, o in orders.items() if checks.end_of(o) in wanted), None)
            if order_id is not None:
                entries = await self._client.timeline(order_id)
                saga = await self._client.saga(order_id)
                self._console.print(
                    show.timeline_table(orders[order_id], entries, saga, events[order_id])
                )

    def _verdict(self, results: Mapping[str, Iterable[str]], *, facts: str) -> bool:
        sound = True
        for promise, problems in results.items():
            found = list(problems)
            sound = sound and not found
            mark = "[red]✗[/]" if found else "[green]✓[/]"
            self._console.print(f"{mark} {promise}")
            for problem in found[:5]:
                self._console.print(f"    {problem}", markup=False)
        self._console.print(f"{'Sound' if sound else 'NOT SOUND'}: {facts}.")
        return sound

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
