from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from trackops_common.errors import DependencyUnavailable, TransientError
from trackops_common.renewal import Renewed


class Giver:
    """Gives 1, 2, 3 …, each fresh for ten seconds; `away` while told so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.given = 0
        self.asked = 0
        self.away = False
        self.told: list[int] = []

    def fetch(self) -> int:
        self.asked += 1
        if self.away:
            raise TransientError("away")
        self.given += 1
        return self.given

    def value(self) -> Renewed[int]:
        return Renewed(
            "the number", self.fetch, lambda _: 10.0, on_value=self.told.append, clock=self.clock
        )

    def clock(self) -> float:
        return self.now


@pytest.fixture
def giver() -> Giver:
    return Giver()


def test_a_value_is_asked_for_once_and_again_when_it_is_not_fresh_any_more(giver: Giver) -> None:
    value = giver.value()
    assert value.at_hand is None
    assert [value.get(), value.get()] == [1, 1]
    giver.now += 9.9
    assert value.get() == 1
    giver.now += 0.1
    assert value.get() == 2
    assert giver.told == [1, 2]


def test_while_the_giver_is_away_the_value_at_hand_is_used(giver: Giver) -> None:
    value = giver.value()
    value.get()
    giver.away = True
    giver.now += 1000
    assert value.get() == 1
    assert not value.giver_answers
    giver.away = False
    giver.now += 60
    assert value.get() == 2
    assert value.giver_answers


def test_without_a_value_a_giver_that_is_away_is_an_error(giver: Giver) -> None:
    giver.away = True
    with pytest.raises(DependencyUnavailable, match="the number"):
        giver.value().get()


def test_a_giver_that_is_away_is_asked_less_and_less_often(giver: Giver) -> None:
    value = giver.value()
    value.get()
    giver.away = True
    asked = []
    for _ in range(10_000):  # 1000 seconds
        giver.now += 0.1
        before = giver.asked
        value.get()
        if giver.asked > before:
            asked.append(giver.now)
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses[0] < 1
    assert all(14 < pause < 31 for pause in pauses[10:])


def test_asking_out_of_turn_is_limited(giver: Giver) -> None:
    value = giver.value()
    for _ in range(100):
        value.renew(unless_tried_within_seconds=5)
    assert giver.asked == 1
    giver.now += 5
    value.renew(unless_tried_within_seconds=5)
    assert (giver.asked, value.get()) == (2, 2)


def test_a_failed_attempt_counts_as_one(giver: Giver) -> None:
    giver.away = True
    value = giver.value()
    for _ in range(100):
        value.renew(unless_tried_within_seconds=5)
    assert giver.asked == 1


def test_many_who_need_it_at_once_ask_once(giver: Giver) -> None:
    value = giver.value()
    begin = threading.Barrier(16)
    found: list[int] = []

    def need() -> None:
        begin.wait()
        found.append(value.get())

    threads = [threading.Thread(target=need) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 16


def test_run_keeps_it_fresh_until_it_is_stopped() -> None:
    stop, renewed = threading.Event(), threading.Event()
    given = iter(range(1, 1000))

    def told(value: int) -> None:
        if value == 3:
            renewed.set()

    value = Renewed("it", lambda: next(given), lambda _: 0.001, on_value=told)
    thread = threading.Thread(target=value.run, args=[stop])
    thread.start()
    assert renewed.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
