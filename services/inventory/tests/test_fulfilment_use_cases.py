"""Pieces that leave and come back, and reservations whose time is over; in memory and Postgres."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from trackops.inventory.v1 import inventory_pb2

from trackops_common.errors import RequestIdReused
from trackops_inventory.domain.errors import (
    InsufficientStock,
    InvalidReservation,
    ReservationNotFound,
    ReservationReleased,
    ReservedOtherwise,
    TooManyPieces,
)

from .inventory_fakes import Inventory, Outcome, events_of, order, reservation

HELD, RELEASED, COMMITTED = (
    inventory_pb2.RESERVATION_STATE_HELD,
    inventory_pb2.RESERVATION_STATE_RELEASED,
    inventory_pb2.RESERVATION_STATE_COMMITTED,
)


def quantities(outcome: Outcome) -> dict[str, tuple[int, int, int]]:
    """(reserved, committed, restocked) of each sku."""
    return {
        item.sku: (item.quantity, item.committed_quantity, item.restocked_quantity)
        for item in reservation(outcome).reserved_items
    }


class TestCommit:
    def test_pieces_leave_the_house(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        inventory.adjust("MUG", 5)
        id_ = order()
        inventory.reserve(id_, TEA=3, MUG=1)

        some = inventory.commit(id_, TEA=2)

        assert reservation(some).state == HELD
        assert quantities(some) == {"TEA": (3, 2, 0), "MUG": (1, 0, 0)}
        assert (inventory.level("TEA"), inventory.level("MUG")) == ((3, 1), (5, 1))

        rest = inventory.commit(id_, MUG=1, TEA=1)

        assert reservation(rest).state == COMMITTED
        assert quantities(rest) == {"TEA": (3, 3, 0), "MUG": (1, 1, 0)}
        assert (inventory.level("TEA"), inventory.level("MUG")) == ((2, 0), (4, 0))
        assert events_of(inventory, id_) == [
            ("StockReserved", 1),
            ("StockCommitted", 2),
            ("StockCommitted", 3),
        ]

    @pytest.mark.parametrize(
        ("items", "sku", "available"),
        [({"TEA": 4}, "TEA", 3), ({"TEA": 1, "MUG": 1}, "MUG", 0), ({"JAM": 1}, "JAM", 0)],
    )
    def test_no_more_than_is_held_and_all_or_nothing(
        self, inventory: Inventory, items: dict[str, Any], sku: str, available: int
    ) -> None:
        inventory.adjust("TEA", 5)
        inventory.adjust("MUG", 5)
        id_ = order()
        inventory.reserve(id_, TEA=3)
        before = inventory.tables.count()

        refusal = inventory.commit(id_, **items)

        assert isinstance(refusal, TooManyPieces)
        assert (refusal.sku, refusal.requested, refusal.available) == (sku, items[sku], available)
        assert inventory.tables.count() == before
        assert (inventory.level("TEA"), inventory.level("MUG")) == ((5, 3), (5, 0))

    def test_nothing_more_when_everything_left(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        inventory.reserve(id_, TEA=3)
        inventory.commit(id_, TEA=3)
        assert isinstance(inventory.commit(id_, TEA=1), TooManyPieces)
        assert isinstance(inventory.reserve(id_, TEA=3), ReservedOtherwise)
        assert inventory.level("TEA") == (2, 0)

    def test_of_an_order_without_reservation_leaves_nothing(self, inventory: Inventory) -> None:
        before = inventory.tables.count()
        assert isinstance(inventory.commit(order(), TEA=1), ReservationNotFound)
        assert inventory.tables.count() == before

    def test_after_a_release_is_refused(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        first, second = order(), order()
        inventory.release(first)
        inventory.reserve(second, TEA=2)
        inventory.release(second)
        for id_ in (first, second):
            assert isinstance(inventory.commit(id_, TEA=1), ReservationReleased)
        assert inventory.level("TEA") == (5, 0)

    def test_a_release_after_it_frees_only_the_rest(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        inventory.adjust("MUG", 5)
        id_ = order()
        inventory.reserve(id_, TEA=3, MUG=1)
        inventory.commit(id_, TEA=1, MUG=1)

        released = inventory.release(id_)

        assert reservation(released).state == RELEASED
        assert quantities(released) == {"TEA": (3, 1, 0), "MUG": (1, 1, 0)}
        assert (inventory.level("TEA"), inventory.level("MUG")) == ((4, 0), (4, 0))
        assert isinstance(inventory.commit(id_, TEA=1), ReservationReleased)

    def test_a_release_after_all_left_changes_nothing(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        inventory.reserve(id_, TEA=3)
        inventory.commit(id_, TEA=3)
        assert reservation(inventory.release(id_)).state == COMMITTED
        assert inventory.level("TEA") == (2, 0)
        assert len(events_of(inventory, id_)) == 2

    def test_a_repeat_gets_the_first_response(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_, request_id = order(), str(uuid4())
        inventory.reserve(id_, TEA=3)
        first = inventory.commit(id_, request_id=request_id, TEA=1)
        inventory.commit(id_, TEA=1)
        assert inventory.commit(id_, request_id=request_id, TEA=1) == first
        assert isinstance(inventory.commit(id_, request_id=request_id, TEA=2), RequestIdReused)
        assert inventory.level("TEA") == (3, 1)

    def test_a_batch_is_decided_in_its_order(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 9)
        id_, other = order(), order()
        inventory.reserve(id_, TEA=3)
        inventory.reserve(other, TEA=1)
        again = inventory.going(id_, TEA=1)
        commands = [
            again,
            inventory.going(id_, TEA=3),
            inventory.going(order(), TEA=1),
            inventory.going(other, TEA=1),
            again,
            inventory.going(id_, TEA=2),
        ]
        kinds = [type(outcome) for outcome in inventory.commit_all(commands)]
        assert kinds == [bytes, TooManyPieces, ReservationNotFound, bytes, bytes, bytes]
        assert inventory.level("TEA") == (5, 0)
        versions = [version for _, version in events_of(inventory, id_)]
        assert versions == [1, 2, 3]


class TestRestock:
    def test_pieces_come_back_and_are_available(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        inventory.reserve(id_, TEA=3)
        inventory.commit(id_, TEA=2)

        back = inventory.restock(id_, TEA=1)

        assert reservation(back).state == HELD
        assert quantities(back) == {"TEA": (3, 2, 1)}
        assert inventory.level("TEA") == (4, 1)
        assert events_of(inventory, id_)[-1] == ("StockRestocked", 3)

    @pytest.mark.parametrize("end", ["release", "commit"])
    def test_also_of_a_reservation_at_its_end(self, inventory: Inventory, end: str) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        inventory.reserve(id_, TEA=3)
        inventory.commit(id_, TEA=2)
        inventory.release(id_) if end == "release" else inventory.commit(id_, TEA=1)
        state = RELEASED if end == "release" else COMMITTED
        assert reservation(inventory.restock(id_, TEA=2)).state == state
        assert inventory.level("TEA") == ((5, 0) if end == "release" else (4, 0))

    def test_no_more_than_left_and_is_not_back(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        inventory.adjust("MUG", 5)
        id_ = order()
        inventory.reserve(id_, TEA=3, MUG=1)
        inventory.commit(id_, TEA=2)
        inventory.restock(id_, TEA=1)
        before = inventory.tables.count()
        baskets: list[dict[str, Any]] = [{"TEA": 2}, {"TEA": 1, "MUG": 1}, {"JAM": 1}]
        for items in baskets:
            assert isinstance(inventory.restock(id_, **items), TooManyPieces)
        assert inventory.tables.count() == before
        assert (inventory.level("TEA"), inventory.level("MUG")) == ((4, 1), (5, 1))

    def test_what_came_back_does_not_leave_again_for_the_order(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        inventory.reserve(id_, TEA=1)
        inventory.commit(id_, TEA=1)
        inventory.restock(id_, TEA=1)
        assert isinstance(inventory.commit(id_, TEA=1), TooManyPieces)
        assert isinstance(inventory.restock(id_, TEA=1), TooManyPieces)
        assert inventory.level("TEA") == (5, 0)

    def test_of_an_order_without_reservation(self, inventory: Inventory) -> None:
        assert isinstance(inventory.restock(order(), TEA=1), ReservationNotFound)

    def test_a_repeat_gets_the_first_response(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_, request_id = order(), str(uuid4())
        inventory.reserve(id_, TEA=3)
        inventory.commit(id_, TEA=3)
        first = inventory.restock(id_, request_id=request_id, TEA=1)
        assert inventory.restock(id_, request_id=request_id, TEA=1) == first
        assert isinstance(inventory.restock(id_, request_id=request_id, TEA=2), RequestIdReused)
        assert inventory.level("TEA") == (3, 0)


def test_a_sku_in_two_items_is_refused(inventory: Inventory) -> None:
    inventory.adjust("TEA", 5)
    id_ = order()
    inventory.reserve(id_, TEA=3)
    going, coming = inventory.going(id_, TEA=1), inventory.coming(id_, TEA=1)
    for command in (going, coming):
        object.__setattr__(command, "items", command.items * 2)
    assert isinstance(inventory.commit_all([going])[0], InvalidReservation)
    assert isinstance(inventory.restock_all([coming])[0], InvalidReservation)
    assert inventory.level("TEA") == (5, 3)


class TestExpiry:
    def test_frees_what_is_still_held(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_, other = order(), order()
        held = reservation(inventory.reserve(id_, expires=60, TEA=3))
        inventory.reserve(other, TEA=1)
        assert held.expire_time.seconds - held.create_time.seconds == 60
        inventory.commit(id_, TEA=1)
        assert inventory.expire() == 0

        inventory.tables.let_pass(60)

        assert inventory.expire() == 1
        assert inventory.level("TEA") == (4, 1)
        assert events_of(inventory, id_)[-1] == ("StockReleased", 3)
        assert inventory.expire() == 0
        released = reservation(inventory.release(id_))
        assert (released.state, released.HasField("expire_time")) == (RELEASED, False)
        assert len(events_of(inventory, id_)) == 3

    def test_before_it_is_written_down_counts_as_released(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        inventory.reserve(id_, expires=60, TEA=3)
        inventory.tables.let_pass(60)
        before = inventory.tables.count()
        assert isinstance(inventory.commit(id_, TEA=1), ReservationReleased)
        assert isinstance(inventory.reserve(id_, TEA=3), ReservationReleased)
        assert inventory.tables.count() == before
        assert inventory.level("TEA") == (5, 3)
        assert inventory.expire() == 1
        assert inventory.level("TEA") == (5, 0)

    def test_does_not_come_to_what_has_ended(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        gone, freed = order(), order()
        for id_ in (gone, freed):
            inventory.reserve(id_, expires=60, TEA=1)
        assert not reservation(inventory.commit(gone, TEA=1)).HasField("expire_time")
        inventory.release(freed)
        inventory.tables.let_pass(60)
        assert inventory.expire() == 0
        assert inventory.level("TEA") == (4, 0)

    def test_pieces_that_left_in_time_may_still_come_back(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        inventory.reserve(id_, expires=60, TEA=3)
        inventory.commit(id_, TEA=2)
        inventory.tables.let_pass(60)
        assert isinstance(inventory.restock(id_, TEA=1), bytes)
        inventory.expire()
        assert isinstance(inventory.restock(id_, TEA=1), bytes)
        assert inventory.level("TEA") == (5, 0)

    def test_the_longest_over_come_first_in_batches(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 9)
        orders = [order() for _ in range(3)]
        for seconds, id_ in zip((30, 10, 20), orders, strict=True):
            inventory.reserve(id_, expires=seconds, TEA=1)
        inventory.tables.let_pass(30)
        object.__setattr__(inventory.expire, "max_batch", 2)
        assert [inventory.expire(), inventory.expire(), inventory.expire()] == [2, 1, 0]
        released = [key for name, key, _ in inventory.tables.events() if name == "StockReleased"]
        assert released == [str(orders[1]), str(orders[2]), str(orders[0])]

    def test_the_freed_pieces_may_be_had_by_others(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 1)
        inventory.reserve(order(), expires=60, TEA=1)
        assert isinstance(inventory.reserve(order(), TEA=1), InsufficientStock)
        inventory.tables.let_pass(60)
        inventory.expire()
        assert isinstance(inventory.reserve(order(), TEA=1), bytes)

    def test_another_expiry_is_another_request(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_, request_id = order(), str(uuid4())
        first = inventory.reserve(id_, request_id=request_id, expires=60, TEA=1)
        again = inventory.reserve(id_, request_id=request_id, expires=60, TEA=1)
        other = inventory.reserve(id_, request_id=request_id, expires=61, TEA=1)
        assert again == first
        assert isinstance(other, RequestIdReused)
