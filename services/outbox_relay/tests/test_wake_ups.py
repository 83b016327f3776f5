"""New rows are noticed by a notification, and without one by a poll that slows down."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from trackops_cli.testing import wait_for
from trackops_common.database import Database, Rows
from trackops_common.testing import eventually
from trackops_outbox_relay.adapters.wake_ups import PostgresWakeUps
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.bootstrap import bootstrap
from trackops_outbox_relay.testing import RelayBench

ORDER, INVENTORY = "trackops_order", "trackops_inventory"
SECONDS = 5


@pytest.fixture
def wake_ups(bench: RelayBench) -> PostgresWakeUps:
    url = bench.settings.database_url.get_secret_value()
    return PostgresWakeUps(url, [ORDER, INVENTORY], on_operation=lambda _: None)


def test_a_commit_rings_the_bell_of_its_own_source(
    bench: RelayBench, wake_ups: PostgresWakeUps
) -> None:
    stop = threading.Event()
    listener = threading.Thread(target=wake_ups.run, args=[stop])
    listener.start()
    try:
        for source in (ORDER, INVENTORY):  # rung by the connection itself
            assert wake_ups.of(source).wait(20)
        bench.write(ORDER, 1)
        assert wake_ups.of(ORDER).wait(20)
        assert not wake_ups.of(INVENTORY).wait(0)
    finally:
        stop.set()
        listener.join(20)


def _wait_until_published(bench: RelayBench, count: int) -> None:
    wait_for(lambda: len(bench.published(ORDER)) == count, what="a poll")


async def test_rows_are_published_while_no_notification_arrives(
    bench: RelayBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresWakeUps, "run", lambda _self, stop: stop.wait())
    ids: list[str] = []
    async with bootstrap(bench.settings):
        for _ in range(3):
            ids += bench.write(ORDER, 2)
            await asyncio.to_thread(_wait_until_published, bench, len(ids))
    assert bench.published(ORDER) == ids


async def test_an_idle_relay_asks_postgres_four_times_a_second_at_most(
    bench: RelayBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted for all sources together, once the polls have slowed down."""
    asked: list[float] = []
    fetch = Database.fetch

    def counting(self: Database, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        asked.append(time.monotonic())
        return fetch(self, sql, parameters)

    monkeypatch.setattr(Database, "fetch", counting)
    async with bootstrap(bench.settings) as application:
        servicer: Any = application.rpc_services[0].servicer
        progress = servicer.get_checkpoint.progress
        await eventually(lambda: all(map(_starts(progress), bench.databases)), seconds=30)
        rest = time.monotonic() + 4  # the doubling intervals are at their longest by then
        await asyncio.to_thread(wait_for, lambda: time.monotonic() > rest)
        began = time.monotonic()
        await asyncio.to_thread(wait_for, lambda: time.monotonic() - began > SECONDS)
        count = sum(began < at < began + SECONDS for at in asked)
    assert count <= 4 * SECONDS + 2, "each end of the interval may cut a burst"


def _starts(progress: Progress) -> Callable[[str], bool]:
    """Whether a source is published."""

    def starts(source: str) -> bool:
        here = progress.of(source)
        return here is not None and here.standing is not None

    return starts
