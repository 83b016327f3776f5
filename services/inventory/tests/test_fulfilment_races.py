"""Commit, release, restock and expiry at the same time, on Postgres: one outcome for each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from trackops_cli.testing import wait_for
from trackops_common.database import Database
from trackops_common.errors import BatchRefused
from trackops_common.racing import at_once, waits_for_a_lock
from trackops_inventory.application.release_stock import ReleaseStock
from trackops_inventory.domain.errors import ReservationReleased, TooManyPieces
from trackops_inventory.domain.reservation import Reservation, ReservationState, ReservedItem

from .inventory_fakes import THREADS, Inventory, Outcome, PostgresTables

PIECES = 10_000


@pytest.fixture
def inventory(tables: PostgresTables) -> Inventory:
    inventory = Inventory(tables)
    inventory.adjust("TEA", PIECES)
    return inventory


def held(inventory: Inventory, number: int, *, pieces: int = 1, expires: int = 0) -> Sequence[UUID]:
    """New orders with so many pieces of TEA each."""
    orders = [uuid4() for _ in range(number)]
    inventory.reserve_all(
        [inventory.reservation(id_, expires=expires, TEA=pieces) for id_ in orders]
    )
    return orders


def ends(tables: PostgresTables, orders: Sequence[UUID]) -> dict[UUID, Sequence[str]]:
    """What happened to each order after it was reserved."""
    facts = tables.events()
    return {id_: [name for name, key, _ in facts if key == str(id_)][1:] for id_ in orders}


def test_commit_or_release_or_expiry_and_never_two_of_them(
    connections: Database, tables: PostgresTables, inventory: Inventory
) -> None:
    """All three at once, while the time of the orders runs out."""
    rounds, number, committed = 8, 60, 0
    for _ in range(rounds):
        orders = held(inventory, number, expires=60)
        connections.execute(
            "UPDATE reservations SET expire_time = clock_timestamp() + interval '5 ms'"
            " WHERE state = 'HELD'"
        )
        outcomes, _ = at_once(
            partial(_one_by_one, partial(inventory.commit, TEA=1), orders[:40]),
            partial(_one_by_one, inventory.release, orders[20:][::-1]),
            *[partial(_one_by_one, lambda _: inventory.expire(), range(20))] * 2,
        )[:2]
        wait_for(lambda: not (inventory.expire(), tables.reserved_by_orders())[1], what="the end")
        won = {o for o, got in zip(orders, outcomes, strict=False) if isinstance(got, bytes)}
        assert all(isinstance(outcome, bytes | ReservationReleased) for outcome in outcomes)
        for id_, facts in ends(tables, orders).items():
            assert facts == ["StockCommitted" if id_ in won else "StockReleased"]
        committed += len(won)
    assert inventory.level("TEA") == (PIECES - committed, 0)
    assert tables.away_by_orders() == ({"TEA": committed} if committed else {})


def _one_by_one(do: Callable[[Any], Any], what: Iterable[Any]) -> Sequence[Any]:
    return [do(one) for one in what]


def test_a_commit_that_waits_for_the_expiry_is_refused(
    connections: Database, tables: PostgresTables, inventory: Inventory
) -> None:
    (id_,) = held(inventory, 1, expires=60)
    tables.let_pass(60)
    with ThreadPoolExecutor(2) as threads, tables.unit_of_work() as slow:
        slow.stock.lock(["TEA"])
        expiry = threads.submit(inventory.expire)
        wait_for(lambda: waits_for_a_lock(connections), what="the expiry waits for the stock")
        commit = threads.submit(inventory.commit, id_, TEA=1)
        slow.commit()
        assert expiry.result(timeout=10) == 1
        assert isinstance(commit.result(timeout=10), ReservationReleased)
    assert inventory.level("TEA") == (PIECES, 0)


def test_the_expiry_leaves_alone_what_somebody_is_changing(
    tables: PostgresTables, inventory: Inventory
) -> None:
    first, second = held(inventory, 2, expires=60)
    tables.let_pass(60)
    with tables.unit_of_work() as other:
        other.reservations.lock([first])
        assert inventory.expire() == 1
        assert inventory.level("TEA") == (PIECES, 1)
    assert inventory.expire() == 1
    assert ends(tables, [first, second]) == {
        first: ["StockReleased"],
        second: ["StockReleased"],
    }


def test_replicas_share_what_is_over(tables: PostgresTables, inventory: Inventory) -> None:
    orders = held(inventory, 400, expires=60)
    tables.let_pass(60)
    object.__setattr__(inventory.expire, "max_batch", 10)

    def sweep() -> int:
        total = 0
        while released := inventory.expire():
            total += released
        return total

    assert sum(at_once(*[sweep] * THREADS)) == len(orders)
    assert inventory.level("TEA") == (PIECES, 0)
    assert all(facts == ["StockReleased"] for facts in ends(tables, orders).values())


@pytest.mark.parametrize("kind", ["commit", "restock"])
def test_no_more_go_or_come_than_there_are(
    tables: PostgresTables, inventory: Inventory, kind: str
) -> None:
    """Eight threads want every piece of ten orders, piece by piece."""
    orders = held(inventory, 10, pieces=5)
    if kind == "restock":
        inventory.commit_all([inventory.going(id_, TEA=5) for id_ in orders])

    def move() -> Sequence[Outcome]:
        if kind == "commit":
            return inventory.commit_all([inventory.going(id_, TEA=1) for id_ in [*orders] * 5])
        return inventory.restock_all([inventory.coming(id_, TEA=1) for id_ in [*orders] * 5])

    outcomes = [outcome for batch in at_once(*[move] * THREADS) for outcome in batch]

    assert sum(isinstance(outcome, bytes) for outcome in outcomes) == 50
    assert sum(isinstance(outcome, TooManyPieces) for outcome in outcomes) == 350
    left = 50 if kind == "commit" else 0
    assert inventory.level("TEA") == (PIECES - left, 0)
    assert tables.away_by_orders() == ({"TEA": left} if left else {})


def test_one_commit_sent_many_times_at_once_counts_once(
    tables: PostgresTables, inventory: Inventory
) -> None:
    (id_,) = held(inventory, 1, pieces=9)
    command = inventory.going(id_, TEA=2)
    outcomes = at_once(*[lambda: inventory.commit_all([command])[0]] * THREADS)
    assert len(set(outcomes)) == 1
    assert inventory.level("TEA") == (PIECES - 2, 7)
    assert ends(tables, [id_]) == {id_: ["StockCommitted"]}


def test_everything_at_once_adds_up(tables: PostgresTables, inventory: Inventory) -> None:
    """Every batch in another order; a deadlock would raise TransientError."""
    orders = [uuid4() for _ in range(40)]
    for sku in ("A", "B", "C"):
        inventory.adjust(sku, 60)

    def work(seed: int) -> int:
        chance = random.Random(seed)
        for _ in range(25):
            _do_something(tables, inventory, chance, chance.sample(orders, 15))
        return seed

    assert len(at_once(*[partial(work, seed) for seed in range(THREADS)])) == THREADS
    levels = tables.reader.get(["A", "B", "C"])
    away, reserved = tables.away_by_orders(), tables.reserved_by_orders()
    for sku, level in levels.items():
        assert level.on_hand == 60 - away.get(sku, 0)
        assert level.reserved == reserved.get(sku, 0)
    assert len({name for name, _, _ in tables.events()}) == 5, "a kind of event never happened"


def _do_something(
    tables: PostgresTables, inventory: Inventory, chance: random.Random, orders: Sequence[UUID]
) -> None:
    some: Any = {chance.choice("ABC"): chance.randint(1, 3) for _ in range(2)}
    match chance.choice(["reserve", "reserve", "commit", "restock", "release", "expire"]):
        case "reserve":
            after = chance.choice([0, 30])
            inventory.reserve_all(
                [inventory.reservation(id_, expires=after, A=2, B=2, C=2) for id_ in orders]
            )
        case "commit":
            inventory.commit_all([inventory.going(id_, **some) for id_ in orders])
        case "restock":
            inventory.restock_all([inventory.coming(id_, **some) for id_ in orders])
        case "release":
            inventory.release_all([ReleaseStock("me", str(uuid4()), id_) for id_ in orders[:3]])
        case _:
            tables.let_pass(20)
            inventory.expire()


@pytest.mark.parametrize(
    "item", [ReservedItem("TEA", 1, 2), ReservedItem("TEA", 2, 1, 2), ReservedItem("TEA", 2, 1, -1)]
)
def test_the_table_itself_refuses_what_cannot_be(
    tables: PostgresTables, inventory: Inventory, item: ReservedItem
) -> None:
    (id_,) = held(inventory, 1)
    with pytest.raises(BatchRefused, match="quantities"), tables.unit_of_work() as work:
        standing = work.reservations.lock([id_])[id_]
        standing.items = (item,)
        work.reservations.save([standing])


def test_only_what_is_held_may_have_an_end(tables: PostgresTables, inventory: Inventory) -> None:
    (id_,) = held(inventory, 1, expires=60)
    with pytest.raises(BatchRefused, match="expire_time"), tables.unit_of_work() as work:
        standing: Reservation = work.reservations.lock([id_])[id_]
        standing.state = ReservationState.RELEASED
        work.reservations.save([standing])
