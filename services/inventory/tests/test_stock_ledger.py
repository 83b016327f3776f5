"""The stock ledger against a model that knows only what became of every order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
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
EXPIRIES = strategies.sampled_from([0, 0, 30])
BASKETS = strategies.dictionaries(SKUS, QUANTITIES, min_size=1)
REQUESTS = strategies.builds(lambda number: str(UUID(int=number)), strategies.integers(1, 30))


@dataclass
class Promise:
    """What the model knows of one order's reservation."""

    basket: dict[str, int]
    over_at: int | None
    gone: Counter[str] = field(default_factory=Counter)
    back: Counter[str] = field(default_factory=Counter)
    released: bool = False

    def held(self, sku: str) -> int:
        return 0 if self.released else self.basket.get(sku, 0) - self.gone[sku]

    @property
    def all_gone(self) -> bool:
        return self.gone == Counter(self.basket)


class StockMachine(RuleBasedStateMachine):
    """Commands of few orders, skus and request ids, so that they meet; repeats included."""

    def __init__(self) -> None:
        super().__init__()
        self.inventory = Inventory(InMemoryTables())
        self.now = 0
        self.on_hand: dict[str, int] = {}
        self.promises: dict[UUID, Promise] = {}
        self.answers: dict[tuple[str, str], tuple[object, bytes]] = {}

    @rule(sku=SKUS, delta=strategies.integers(-8, 12), request_id=REQUESTS)
    def adjust(self, sku: str, delta: int, request_id: str) -> None:
        outcome = self.inventory.adjust(sku, delta, request_id=request_id)
        if self._is_new("adjust", request_id, (sku, delta), outcome):
            possible = -delta <= self._available(sku)
            assert isinstance(outcome, bytes) == possible
            if possible:
                self.on_hand[sku] = self.on_hand.get(sku, 0) + delta

    @rule(order_id=ORDERS, basket=BASKETS, expires=EXPIRIES, request_id=REQUESTS)
    def reserve(
        self, order_id: UUID, basket: dict[str, int], expires: int, request_id: str
    ) -> None:
        outcome = self.inventory.reserve(order_id, request_id=request_id, expires=expires, **basket)
        body = (order_id, list(basket.items()), expires)
        if self._is_new("reserve", request_id, body, outcome):
            self._reserve(order_id, basket, expires, succeeded=isinstance(outcome, bytes))

    def _reserve(
        self, order_id: UUID, basket: dict[str, int], expires: int, *, succeeded: bool
    ) -> None:
        if promise := self.promises.get(order_id):
            same = list(promise.basket.items()) == list(basket.items())
            assert succeeded == (same and self._is_open(promise) and not promise.all_gone)
            return
        enough = all(
            sku in self.on_hand and quantity <= self._available(sku)
            for sku, quantity in basket.items()
        )
        assert succeeded == enough
        if succeeded:
            over_at = self.now + expires if expires else None
            self.promises[order_id] = Promise(basket, over_at)

    @rule(order_id=ORDERS, request_id=REQUESTS)
    def release(self, order_id: UUID, request_id: str) -> None:
        outcome = self.inventory.release(order_id, request_id=request_id)
        if self._is_new("release", request_id, order_id, outcome):
            assert isinstance(outcome, bytes)
            promise = self.promises.setdefault(order_id, Promise({}, None, released=True))
            promise.released |= not promise.all_gone

    @rule(order_id=ORDERS, basket=BASKETS, request_id=REQUESTS)
    def commit(self, order_id: UUID, basket: dict[str, int], request_id: str) -> None:
        outcome = self.inventory.commit(order_id, request_id=request_id, **basket)
        if self._is_new("commit", request_id, (order_id, list(basket.items())), outcome):
            promise = self.promises.get(order_id)
            possible = (
                promise is not None
                and self._is_open(promise)
                and all(quantity <= promise.held(sku) for sku, quantity in basket.items())
            )
            assert isinstance(outcome, bytes) == possible
            if promise and possible:
                promise.gone.update(basket)
                self._move(basket, -1)

    @rule(order_id=ORDERS, basket=BASKETS, request_id=REQUESTS)
    def restock(self, order_id: UUID, basket: dict[str, int], request_id: str) -> None:
        outcome = self.inventory.restock(order_id, request_id=request_id, **basket)
        if self._is_new("restock", request_id, (order_id, list(basket.items())), outcome):
            promise = self.promises.get(order_id)
            possible = promise is not None and all(
                quantity <= promise.gone[sku] - promise.back[sku]
                for sku, quantity in basket.items()
            )
            assert isinstance(outcome, bytes) == possible
            if promise and possible:
                promise.back.update(basket)
                self._move(basket, 1)

    @rule(seconds=strategies.integers(1, 40))
    def let_pass(self, seconds: int) -> None:
        self.now += seconds
        self.inventory.tables.let_pass(seconds)

    @rule()
    def expire(self) -> None:
        over = [p for p in self.promises.values() if not self._is_open(p) and not p.released]
        assert self.inventory.expire() == len(over)
        for promise in over:
            promise.released = True

    @invariant()
    def the_levels_are_what_the_orders_hold(self) -> None:
        levels = self.inventory.tables.reader.get(["A", "B", "C"])
        assert {sku: level.on_hand for sku, level in levels.items()} == self.on_hand
        for sku, level in levels.items():
            assert level.reserved == self._reserved(sku)
            assert 0 <= level.reserved <= level.on_hand

    @invariant()
    def each_order_knows_what_left_and_came_back(self) -> None:
        with self.inventory.tables.unit_of_work() as work:
            stored = work.reservations.lock(self.promises)
        for order_id, promise in self.promises.items():
            for item in stored[order_id].items:
                assert item.quantity == promise.basket[item.sku]
                assert item.committed == promise.gone[item.sku]
                assert item.restocked == promise.back[item.sku]
                assert 0 <= item.restocked <= item.committed <= item.quantity

    def _is_open(self, promise: Promise) -> bool:
        """Whether nobody ended it and its time is not over; after all is gone, none runs."""
        over = promise.over_at is not None and promise.over_at <= self.now
        return not promise.released and (promise.all_gone or not over)

    def _move(self, basket: dict[str, int], sign: int) -> None:
        for sku, quantity in basket.items():
            self.on_hand[sku] += sign * quantity

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
        return sum(promise.held(sku) for promise in self.promises.values())

    def _available(self, sku: str) -> int:
        return self.on_hand.get(sku, 0) - self._reserved(sku)


StockMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, derandomize=True
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
    stock.commit([StockItem("A", 2)])
    assert stock.changed == [StockLevel("A", on_hand=3, reserved=1)]
    stock.restock([StockItem("A", 1)])
    assert stock.changed == [StockLevel("A", on_hand=4, reserved=1)]
