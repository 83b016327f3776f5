"""What happens at the same time, on Postgres: nothing oversold, held twice, or held for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

import pytest

from trackops_cli.testing import wait_for
from trackops_common.batching import Batcher, in_thread
from trackops_common.database import Database
from trackops_common.racing import at_once, waits_for_a_lock
from trackops_inventory.application.release_stock import ReleaseStock
from trackops_inventory.application.reserve_stock import ReserveStock
from trackops_inventory.domain.errors import InsufficientStock, ReservationReleased
from trackops_inventory.domain.reservation import Reservation
from trackops_inventory.domain.stock import StockItem

from .inventory_fakes import THREADS, Inventory, Outcome, PostgresTables, stock_updates

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def inventory(tables: PostgresTables) -> Inventory:
    return Inventory(tables)


def reserved_events(tables: PostgresTables) -> int:
    return sum(name == "StockReserved" for name, _, _ in tables.events())


def test_a_hot_sku_is_never_oversold(tables: PostgresTables, inventory: Inventory) -> None:
    """Eight threads want 480 pieces, in batches, of 100 that there are."""
    inventory.adjust("HOT", 100)

    def buy() -> int:
        batches = [[inventory.reservation(uuid4(), HOT=1) for _ in range(10)] for _ in range(6)]
        outcomes = [outcome for batch in batches for outcome in inventory.reserve_all(batch)]
        return sum(isinstance(outcome, bytes) for outcome in outcomes)

    assert sum(at_once(*[buy] * THREADS)) == 100
    assert inventory.level("HOT") == (100, 100)
    assert tables.reserved_by_orders() == {"HOT": 100}
    assert reserved_events(tables) == 100


def test_five_hundred_reservations_or_commits_of_a_sku_are_one_row_update(
    connections: Database, inventory: Inventory
) -> None:
    inventory.adjust("HOT", 1000)

    wait_for(lambda: stock_updates(connections) == 1, what="the adjustment is counted")
    orders = [uuid4() for _ in range(500)]
    inventory.reserve_all([inventory.reservation(order_id, HOT=1) for order_id in orders])
    wait_for(lambda: stock_updates(connections) > 1, what="the reservations are counted")
    assert stock_updates(connections) == 2
    assert inventory.level("HOT") == (1000, 500)
    inventory.commit_all([inventory.going(order_id, HOT=1) for order_id in orders])
    wait_for(lambda: stock_updates(connections) > 2, what="the commits are counted")
    assert stock_updates(connections) == 3
    assert inventory.level("HOT") == (500, 0)


async def test_five_hundred_buyers_of_a_hot_sku_are_two_batches(
    connections: Database, inventory: Inventory
) -> None:
    """None of them knows of another; their batcher takes 256 at most."""
    inventory.adjust("HOT", 300)
    sizes = []

    def reserve(commands: Sequence[ReserveStock]) -> Sequence[Outcome]:
        sizes.append(len(commands))
        return inventory.reserve_all(commands)

    with ThreadPoolExecutor(1) as threads:
        batcher = Batcher(in_thread(threads, reserve))
        buyers = [batcher.submit(inventory.reservation(uuid4(), HOT=1)) for _ in range(500)]
        outcomes = await asyncio.gather(*buyers)
        await batcher.close()

    assert [isinstance(outcome, bytes) for outcome in outcomes] == [True] * 300 + [False] * 200
    assert {type(outcome) for outcome in outcomes} == {bytes, InsufficientStock}
    assert inventory.level("HOT") == (300, 300)
    assert sizes == [256, 244]
    wait_for(lambda: stock_updates(connections) > 2, what="both updates are counted")
    assert stock_updates(connections) == 3, "the adjustment, and one for each batch"


def test_one_request_sent_many_times_at_once_holds_once(
    tables: PostgresTables, inventory: Inventory
) -> None:
    inventory.adjust("TEA", 100)
    command = inventory.reservation(uuid4(), TEA=2)
    outcomes = at_once(*[lambda: inventory.reserve_all([command])[0]] * THREADS)
    assert len(set(outcomes)) == 1
    assert inventory.level("TEA") == (100, 2)
    assert reserved_events(tables) == 1


def test_a_release_that_comes_first_refuses_a_reservation_that_waits_for_it(
    connections: Database, tables: PostgresTables, inventory: Inventory
) -> None:
    inventory.adjust("TEA", 10)
    order_id = uuid4()
    with ThreadPoolExecutor(1) as threads, tables.unit_of_work() as release:
        release.reservations.claim([Reservation.mark_released(order_id, now=NOW)])
        late = threads.submit(inventory.reserve, order_id, TEA=3)
        wait_for(lambda: waits_for_a_lock(connections), what="the reservation waits")
        release.commit()
        assert isinstance(late.result(timeout=10), ReservationReleased)
    assert inventory.level("TEA") == (10, 0)


def test_a_release_that_rolls_back_lets_a_waiting_reservation_through(
    connections: Database, tables: PostgresTables, inventory: Inventory
) -> None:
    inventory.adjust("TEA", 10)
    order_id = uuid4()
    with ThreadPoolExecutor(1) as threads:
        with tables.unit_of_work() as release:
            release.reservations.claim([Reservation.mark_released(order_id, now=NOW)])
            late = threads.submit(inventory.reserve, order_id, TEA=3)
            wait_for(lambda: waits_for_a_lock(connections), what="the reservation waits")
        assert isinstance(late.result(timeout=10), bytes)
    assert inventory.level("TEA") == (10, 3)


def test_a_release_that_waits_for_a_reservation_frees_it(
    connections: Database, tables: PostgresTables, inventory: Inventory
) -> None:
    inventory.adjust("TEA", 10)
    order_id = uuid4()
    with ThreadPoolExecutor(2) as threads, tables.unit_of_work() as slow:
        slow.stock.lock(["TEA"])
        reserve = threads.submit(inventory.reserve, order_id, TEA=3)
        wait_for(lambda: waits_for_a_lock(connections), what="the reservation waits")
        release = threads.submit(inventory.release, order_id)
        slow.commit()
        assert isinstance(reserve.result(timeout=10), bytes | ReservationReleased)
        assert isinstance(release.result(timeout=10), bytes)
    assert inventory.level("TEA") == (10, 0)
    assert tables.reserved_by_orders() == {}


def test_whoever_wins_an_order_nothing_stays_held(
    tables: PostgresTables, inventory: Inventory
) -> None:
    """Every order is reserved and released at once; released is what each must end."""
    inventory.adjust("TEA", 10_000)
    for _ in range(10):
        orders = [uuid4() for _ in range(20)]
        reserves = [inventory.reservation(id_, TEA=1) for id_ in orders]
        releases = [ReleaseStock("me", str(uuid4()), id_) for id_ in reversed(orders)]
        at_once(partial(inventory.reserve_all, reserves), partial(inventory.release_all, releases))
    assert inventory.level("TEA") == (10_000, 0)
    assert tables.reserved_by_orders() == {}


def test_no_two_batches_wait_in_a_circle(tables: PostgresTables, inventory: Inventory) -> None:
    """Reserve, release and adjust on the same orders and skus, every batch in another order.

    A deadlock would raise TransientError; the counts must agree at the end.
    """
    skus = [f"SKU-{number}" for number in range(12)]
    for sku in skus:
        inventory.adjust(sku, 200)
    orders = [uuid4() for _ in range(60)]

    def work(seed: int) -> int:
        chance = random.Random(seed)
        for _ in range(25):
            some = chance.sample(orders, 20)
            match chance.choice(["reserve", "reserve", "release", "adjust"]):
                case "reserve":
                    inventory.reserve_all([_reservation(chance, id_, skus) for id_ in some])
                case "release":
                    inventory.release_all(
                        [ReleaseStock("me", str(uuid4()), id_) for id_ in some[:5]]
                    )
                case _:
                    for sku in chance.sample(skus, 3):
                        inventory.adjust(sku, chance.randint(-5, 5))
        return seed

    calls = [partial(work, seed) for seed in range(THREADS)]
    assert list(at_once(*calls)) == list(range(THREADS))
    reserved = tables.reserved_by_orders()
    levels = tables.reader.get(skus)
    assert {sku: level.reserved for sku, level in levels.items() if level.reserved} == reserved
    assert all(0 <= level.reserved <= level.on_hand for level in levels.values())


def test_stock_rows_are_locked_in_the_order_of_their_skus(
    connections: Database, tables: PostgresTables, inventory: Inventory
) -> None:
    """Stored Z, M, A; while M is taken, a batch that wants all three has A and not yet Z."""
    for sku in ("Z", "M", "A"):
        inventory.adjust(sku, 5)
    with ThreadPoolExecutor(1) as threads:
        with tables.unit_of_work() as other:
            other.stock.lock(["M"])
            batch = threads.submit(inventory.reserve, uuid4(), Z=1, M=1, A=1)
            wait_for(lambda: waits_for_a_lock(connections), what="the batch waits for M")
            free = connections.fetch("SELECT sku FROM stock FOR UPDATE SKIP LOCKED")
            assert [row[0] for row in free] == ["Z"]
        assert isinstance(batch.result(timeout=10), bytes)


def test_first_adjustments_of_a_sku_at_once_all_count(
    tables: PostgresTables, inventory: Inventory
) -> None:
    outcomes = at_once(*[lambda: inventory.adjust("NEW", 5)] * 4, lambda: inventory.adjust("N", -1))
    assert [isinstance(outcome, bytes) for outcome in outcomes] == [True] * 4 + [False]
    assert isinstance(outcomes[-1], InsufficientStock)
    assert inventory.level("NEW") == (20, 0)
    assert tables.count()["stock"] == 1


def _reservation(chance: random.Random, order_id: UUID, skus: Sequence[str]) -> ReserveStock:
    items = tuple(StockItem(sku, chance.randint(1, 3)) for sku in chance.sample(skus, 4))
    return ReserveStock("me", str(uuid4()), order_id, items)
