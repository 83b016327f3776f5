"""The stock ledger against a model that knows only what every order holds."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trackops_inventory.domain.errors import InsufficientStock, InvalidReservation, SkuNotFound
from trackops_inventory.domain.stock import StockItem, StockLedger, StockLevel

from .inventory_fakes import InMemoryTables, Inventory

SKUS = strategies.sampled_from(["A", "B", "C"])
ORDERS = strategies.builds(lambda number: UUID(int=number), strategies.integers(1, 5))
QUANTITIES = strategies.integers(1, 6)
BASKETS = strategies.dictionaries(SKUS, QUANTITIES, min_size=1)
REQUESTS = strategies.builds(lambda number: str(UUID(int=number)), strategies.integers(1, 30))


class StockMachine(RuleBasedStateMachine):
    """Commands of few orders, skus and request ids, so that they meet; repeats included."""

    def __init__(self) -> None:
        super().__init__()
        self.inventory = Inventory(InMemoryTables())
        self.on_hand: dict[str, int] = {}
        self.held: dict[UUID, dict[str, int]] = {}
        self.released: set[UUID] = set()
        self.answers: dict[tuple[str, str], tuple[object, bytes]] = {}

    @rule(sku=SKUS, delta=strategies.integers(-8, 12), request_id=REQUESTS)
    def adjust(self, sku: str, delta: int, request_id: str) -> None:
        outcome = self.inventory.adjust(sku, delta, request_id=request_id)
        if self._is_new("adjust", request_id, (sku, delta), outcome):
            possible = -delta <= self._available(sku)
            assert isinstance(outcome, bytes) == possible
            if possible:
                self.on_hand[sku] = self.on_hand.get(sku, 0) + delta

    @rule(order_id=ORDERS, basket=BASKETS, request_id=REQUESTS)
    def reserve(self, order_id: UUID, basket: dict[str, int], request_id: str) -> None:
        outcome = self.inventory.reserve(order_id, request_id=request_id, **basket)
        if self._is_new("reserve", request_id, (order_id, list(basket.items())), outcome):
            self._reserve(order_id, basket, succeeded=isinstance(outcome, bytes))

    def _reserve(self, order_id: UUID, basket: dict[str, int], *, succeeded: bool) -> None:
        if order_id in self.released:
            assert not succeeded
        elif order_id in self.held:
            assert succeeded == (list(self.held[order_id].items()) == list(basket.items()))
        else:
            enough = all(
                sku in self.on_hand and quantity <= self._available(sku)
                for sku, quantity in basket.items()
            )
            assert succeeded == enough
            if succeeded:
                self.held[order_id] = basket

    @rule(order_id=ORDERS, request_id=REQUESTS)
    def release(self, order_id: UUID, request_id: str) -> None:
        outcome = self.inventory.release(order_id, request_id=request_id)
        if self._is_new("release", request_id, order_id, outcome):
            assert isinstance(outcome, bytes)
            self.held.pop(order_id, None)
            self.released.add(order_id)

    @invariant()
    def the_levels_are_what_the_orders_hold(self) -> None:
        levels = self.inventory.tables.reader.get(["A", "B", "C"])
        assert {sku: level.on_hand for sku, level in levels.items()} == self.on_hand
        for sku, level in levels.items():
            assert level.reserved == self._reserved(sku)
            assert 0 <= level.reserved <= level.on_hand

    def _is_new(self, method: str, request_id: str, body: object, outcome: object) -> bool:
        """Whether the outcome is not a repeat's, which is checked here."""
        known = self.answers.get((method, request_id))
        if known is not None:
            first_body, response = known
            assert (outcome == response) == (body == first_body)
            return False
        if isinstance(outcome, bytes):
            self.answers[method, request_id] = (body, outcome)
        return True

    def _reserved(self, sku: str) -> int:
        return sum(basket.get(sku, 0) for basket in self.held.values())

    def _available(self, sku: str) -> int:
        return self.on_hand.get(sku, 0) - self._reserved(sku)


StockMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True
)
TestStockMachine = StockMachine.TestCase


def ledger() -> StockLedger:
    return StockLedger({"A": StockLevel("A", on_hand=5), "B": StockLevel("B", on_hand=1)})


@pytest.mark.parametrize(
    ("items", "refusal"),
    [
        ([StockItem("A", 6)], InsufficientStock),
        ([StockItem("A", 1), StockItem("B", 2)], InsufficientStock),
        ([StockItem("A", 1), StockItem("Z", 1)], SkuNotFound),
        ([StockItem("A", 1), StockItem("A", 1)], InvalidReservation),
    ],
)
def test_a_refused_hold_touches_no_level(items: list[StockItem], refusal: type[Exception]) -> None:
    stock = ledger()
    with pytest.raises(refusal):
        stock.hold(items)
    assert stock.changed == []


def test_only_levels_that_changed_are_written() -> None:
    stock = ledger()
    stock.hold([StockItem("A", 5)])
    assert stock.changed == [StockLevel("A", on_hand=5, reserved=5)]
    stock.free([StockItem("A", 2)])
    assert stock.changed == [StockLevel("A", on_hand=5, reserved=3)]
