"""What the inventory promises, on the tables in memory and on Postgres alike."""

from __future__ import annotations

from uuid import uuid4

from trackops.inventory.v1 import inventory_pb2, inventory_service_pb2

from trackops_common.errors import RequestIdReused
from trackops_inventory.application.adjust_stock import AdjustStock
from trackops_inventory.application.get_stock import GetStock
from trackops_inventory.application.release_stock import ReleaseStock
from trackops_inventory.domain.errors import (
    InsufficientStock,
    InvalidReservation,
    ReservationReleased,
    ReservedOtherwise,
    SkuNotFound,
)
from trackops_inventory.domain.stock import StockLevel

from .inventory_fakes import Inventory, events_of, order, reservation

ADJUSTED, RESERVED, RELEASED = "StockAdjusted", "StockReserved", "StockReleased"
NOTHING = {"stock": 0, "reservations": 0, "requests": 0, "outbox": 0}


class TestAdjust:
    def test_makes_a_sku_known_and_adds_to_it(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        answer = inventory.adjust("TEA", -2)
        assert isinstance(answer, bytes)
        level = inventory_service_pb2.AdjustStockResponse.FromString(answer).stock_level
        assert (level.on_hand, level.reserved, level.available) == (3, 0, 3)
        assert inventory.level("TEA") == (3, 0)
        assert events_of(inventory, "TEA") == [(ADJUSTED, 1), (ADJUSTED, 2)]

    def test_versions_of_a_sku_count_its_adjustments(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        inventory.reserve(id_, TEA=2)
        inventory.commit(id_, TEA=1)
        inventory.restock(id_, TEA=1)
        inventory.release(id_)
        inventory.adjust_all([AdjustStock("me", str(uuid4()), "TEA", n) for n in (1, -100, 0)])
        assert events_of(inventory, "TEA") == [(ADJUSTED, 1), (ADJUSTED, 2), (ADJUSTED, 3)]

    def test_nothing_may_be_known_of_nothing(self, inventory: Inventory) -> None:
        assert isinstance(inventory.adjust("TEA", 0), bytes)
        assert inventory.level("TEA") == (0, 0)

    def test_takes_no_more_than_is_available(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        inventory.reserve(order(), TEA=3)
        refusal = inventory.adjust("TEA", -3)
        assert isinstance(refusal, InsufficientStock)
        assert (refusal.requested, refusal.available) == (3, 2)
        assert inventory.level("TEA") == (5, 3)

    def test_a_refused_first_adjustment_leaves_nothing(self, inventory: Inventory) -> None:
        assert isinstance(inventory.adjust("TEA", -1), InsufficientStock)
        assert inventory.tables.count() == NOTHING

    def test_a_repeat_gets_the_first_response(self, inventory: Inventory) -> None:
        request_id = str(uuid4())
        first = inventory.adjust("TEA", 5, request_id=request_id)
        inventory.adjust("TEA", 1)
        assert inventory.adjust("TEA", 5, request_id=request_id) == first
        assert inventory.level("TEA") == (6, 0)

    def test_another_body_is_refused_and_leaves_nothing(self, inventory: Inventory) -> None:
        request_id = str(uuid4())
        inventory.adjust("TEA", 5, request_id=request_id)
        before = inventory.tables.count()
        assert isinstance(inventory.adjust("MUG", 5, request_id=request_id), RequestIdReused)
        assert inventory.tables.count() == before

    def test_a_batch_is_decided_command_by_command(self, inventory: Inventory) -> None:
        deltas = [2, -3, -1, -2]
        outcomes = inventory.adjust_all([AdjustStock("me", str(uuid4()), "TEA", d) for d in deltas])
        assert [isinstance(outcome, bytes) for outcome in outcomes] == [True, False, True, False]
        assert inventory.level("TEA") == (1, 0)


class TestReserve:
    def test_holds_every_item(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        inventory.adjust("MUG", 5)
        id_ = order()
        held = reservation(inventory.reserve(id_, TEA=2, MUG=1))
        assert held.state == inventory_pb2.RESERVATION_STATE_HELD
        assert [(item.sku, item.quantity) for item in held.items] == [("TEA", 2), ("MUG", 1)]
        assert (inventory.level("TEA"), inventory.level("MUG")) == ((5, 2), (5, 1))
        assert events_of(inventory, id_) == [(RESERVED, 1)]

    def test_holds_none_where_one_is_missing(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        inventory.adjust("MUG", 1)
        before = inventory.tables.count()
        refusal = inventory.reserve(order(), TEA=2, MUG=2)
        assert isinstance(refusal, InsufficientStock)
        assert (refusal.sku, refusal.requested, refusal.available) == ("MUG", 2, 1)
        assert (inventory.level("TEA"), inventory.level("MUG")) == ((5, 0), (1, 0))
        assert inventory.tables.count() == before

    def test_refuses_an_unknown_sku(self, inventory: Inventory) -> None:
        assert isinstance(inventory.reserve(order(), TEA=1), SkuNotFound)
        assert inventory.tables.count() == NOTHING

    def test_refuses_a_sku_in_two_items(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        command = inventory.reservation(order(), TEA=1)
        object.__setattr__(command, "items", command.items * 2)
        assert isinstance(inventory.reserve_all([command])[0], InvalidReservation)
        assert inventory.tables.count()["reservations"] == 0

    def test_a_refused_order_may_succeed_later(self, inventory: Inventory) -> None:
        id_, request_id = order(), str(uuid4())
        assert isinstance(inventory.reserve(id_, request_id=request_id, TEA=1), SkuNotFound)
        inventory.adjust("TEA", 1)
        assert reservation(inventory.reserve(id_, request_id=request_id, TEA=1))

    def test_a_repeat_gets_the_first_response(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_, request_id = order(), str(uuid4())
        first = inventory.reserve(id_, request_id=request_id, TEA=2)
        inventory.tables.let_pass(60)
        assert inventory.reserve(id_, request_id=request_id, TEA=2) == first
        assert inventory.level("TEA") == (5, 2)
        assert len(events_of(inventory, id_)) == 1

    def test_another_body_is_refused_and_leaves_nothing(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_, request_id = order(), str(uuid4())
        inventory.reserve(id_, request_id=request_id, TEA=2)
        before = inventory.tables.count()
        for other in (id_, order()):
            refusal = inventory.reserve(other, request_id=request_id, TEA=1)
            assert isinstance(refusal, RequestIdReused)
        assert inventory.tables.count() == before
        assert inventory.level("TEA") == (5, 2)

    def test_another_request_for_a_held_order_holds_nothing_more(
        self, inventory: Inventory
    ) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        first = inventory.reserve(id_, TEA=2)
        assert inventory.reserve(id_, TEA=2) == first
        assert isinstance(inventory.reserve(id_, TEA=3), ReservedOtherwise)
        assert inventory.level("TEA") == (5, 2)

    def test_a_batch_is_decided_in_its_order(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        wanted = [2, 4, 3, 1]
        outcomes = inventory.reserve_all([inventory.reservation(order(), TEA=n) for n in wanted])
        assert [isinstance(outcome, bytes) for outcome in outcomes] == [True, False, True, False]
        assert inventory.level("TEA") == (5, 5)
        assert inventory.tables.count()["reservations"] == 2

    def test_equal_commands_of_a_batch_are_one(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        command = inventory.reservation(order(), TEA=2)
        first, second = inventory.reserve_all([command, command])
        assert first == second
        assert inventory.level("TEA") == (5, 2)

    def test_two_requests_for_an_order_in_a_batch_hold_once(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        outcomes = inventory.reserve_all([inventory.reservation(id_, TEA=2) for _ in range(2)])
        assert outcomes[0] == outcomes[1]
        assert inventory.level("TEA") == (5, 2)
        assert len(events_of(inventory, id_)) == 1

    def test_one_order_twice_in_a_batch_stores_what_was_held(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        outcomes = inventory.reserve_all(
            [inventory.reservation(id_, TEA=6), inventory.reservation(id_, TEA=2)]
        )
        assert isinstance(outcomes[0], InsufficientStock)
        assert reservation(outcomes[1]).items[0].quantity == 2
        released = reservation(inventory.release(id_))
        assert [item.quantity for item in released.items] == [2]
        assert inventory.level("TEA") == (5, 0)


class TestRelease:
    def test_frees_what_is_held(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        inventory.reserve(id_, TEA=2)
        inventory.tables.let_pass(60)
        released = reservation(inventory.release(id_))
        assert released.state == inventory_pb2.RESERVATION_STATE_RELEASED
        assert released.update_time.seconds - released.create_time.seconds >= 60
        assert inventory.level("TEA") == (5, 0)
        assert events_of(inventory, id_) == [(RESERVED, 1), (RELEASED, 2)]

    def test_twice_is_harmless(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        inventory.reserve(id_, TEA=2)
        first = inventory.release(id_)
        assert inventory.release(id_) == first
        assert inventory.level("TEA") == (5, 0)
        assert len(events_of(inventory, id_)) == 2

    def test_a_repeat_gets_the_first_response(self, inventory: Inventory) -> None:
        id_, request_id = order(), str(uuid4())
        first = inventory.release(id_, request_id=request_id)
        inventory.tables.let_pass(60)
        assert inventory.release(id_, request_id=request_id) == first

    def test_before_the_reservation_refuses_it(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        mark = reservation(inventory.release(id_))
        assert mark.state == inventory_pb2.RESERVATION_STATE_RELEASED
        assert isinstance(inventory.reserve(id_, TEA=2), ReservationReleased)
        assert inventory.level("TEA") == (5, 0)
        assert events_of(inventory, id_) == []

    def test_after_it_the_order_stays_released(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        id_ = order()
        inventory.reserve(id_, TEA=2)
        inventory.release(id_)
        assert isinstance(inventory.reserve(id_, TEA=2), ReservationReleased)
        assert inventory.level("TEA") == (5, 0)

    def test_another_body_leaves_no_mark(self, inventory: Inventory) -> None:
        request_id = str(uuid4())
        inventory.release(order(), request_id=request_id)
        before = inventory.tables.count()
        assert isinstance(inventory.release(order(), request_id=request_id), RequestIdReused)
        assert inventory.tables.count() == before

    def test_a_batch_frees_each_order_once(self, inventory: Inventory) -> None:
        inventory.adjust("TEA", 5)
        orders = [order(), order()]
        for id_ in orders:
            inventory.reserve(id_, TEA=2)
        commands = [ReleaseStock("me", str(uuid4()), id_) for id_ in [*orders, *orders]]
        assert all(isinstance(outcome, bytes) for outcome in inventory.release_all(commands))
        assert inventory.level("TEA") == (5, 0)


def test_stock_is_shown_for_the_skus_that_are_known(inventory: Inventory) -> None:
    inventory.adjust("TEA", 5)
    found = GetStock(inventory.tables.reader)(["MUG", "TEA"])
    assert isinstance(found[0], SkuNotFound)
    assert found[1] == StockLevel("TEA", 5, 0, version=1)


def test_what_does_not_commit_did_not_happen(inventory: Inventory) -> None:
    with inventory.tables.unit_of_work() as work:
        work.stock.save(list(work.stock.claim(["TEA"]).values()))
    assert inventory.tables.count() == NOTHING
