"""The explorer finds what is wrong by a shortest way, and misses nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from .explorer import ENDS_WELL, Step, TooManyStates, explore


class Counter:
    """Counts up by one or two, and may be set back to `back`, which is a fault."""

    start = 0

    def __init__(
        self, *, forbidden: int = -1, stuck: int = -1, back: int = 0, fault_to: int = 0
    ) -> None:
        self._forbidden = forbidden
        self._stuck = stuck
        self._back = back
        self._fault_to = fault_to

    def steps(self, state: int) -> Iterator[Step[int]]:
        for more in (1, 2):
            if state + more <= 6 and state != self._stuck:
                yield Step(f"add {more}", "counter", False, state + more)
        if state == self._back:
            yield Step("fall", "counter", True, self._fault_to)

    def broken(self, state: int) -> str | None:
        return "forbidden" if state == self._forbidden else None

    def done(self, state: int) -> bool:
        return state == 6

    def show(self, state: int) -> Mapping[str, str]:
        return {"count": str(state)}


def test_all_states_and_steps_are_seen() -> None:
    found = explore(Counter())
    assert (found.states, found.steps, found.depth, found.done) == (7, 12, 3, 1)
    assert found.taken == {"add 1", "add 2", "fall"}
    assert found.broken is None


def test_the_way_to_a_broken_state_is_a_shortest_one() -> None:
    broken = explore(Counter(forbidden=5)).broken
    assert broken is not None
    assert broken.invariant == "forbidden"
    assert broken.trace.splitlines()[0] == "  0. start  count=0"
    assert broken.trace.count("counter: add") == 3


def test_a_state_that_stands_still_before_it_is_done_is_found() -> None:
    broken = explore(Counter(stuck=3)).broken
    assert broken is not None
    assert broken.invariant == ENDS_WELL
    assert broken.trace.splitlines()[-1].strip() == "count=3"


def test_a_fault_is_no_way_out() -> None:
    """Only a further fault leads on from 3; that does not count."""
    assert explore(Counter(stuck=3, back=3)).broken is not None


def test_a_state_behind_a_fault_is_seen() -> None:
    broken = explore(Counter(back=6, fault_to=9, forbidden=9)).broken
    assert broken is not None
    assert broken.trace.splitlines()[-2].strip() == "4. counter: fall (fault)"


def test_a_space_that_is_too_large_is_refused() -> None:
    with pytest.raises(TooManyStates):
        explore(Counter(), most_states=3)
