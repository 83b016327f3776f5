from __future__ import annotations

import asyncio

import pytest

from trackops_common.circuit_breaker import CircuitBreaker, CircuitOpen, CircuitState


class _Away(Exception):
    pass


class _Circuit:
    """A breaker that opens after 3 failures for 10 s, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.changes: list[CircuitState] = []
        self.breaker = CircuitBreaker(
            "the bank",
            failures=3,
            reset_seconds=10,
            clock=lambda: self.now,
            on_change=self.changes.append,
        )

    def state(self) -> CircuitState:
        return self.breaker.state

    def succeed(self) -> None:
        with self.breaker.call():
            pass

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(_Away), self.breaker.call():
                raise _Away

    def refuse(self) -> None:
        with pytest.raises(CircuitOpen, match="the bank is not available"), self.breaker.call():
            raise AssertionError("a call was let through")


@pytest.fixture
def circuit() -> _Circuit:
    return _Circuit()


def test_failures_in_a_row_open_it(circuit: _Circuit) -> None:
    circuit.fail(2)
    assert circuit.state() is CircuitState.CLOSED
    circuit.fail()
    assert circuit.state() is CircuitState.OPEN
    circuit.refuse()


def test_a_success_in_between_starts_the_count_anew(circuit: _Circuit) -> None:
    circuit.fail(2)
    circuit.succeed()
    circuit.fail(2)
    circuit.succeed()
    assert circuit.changes == []


def test_it_stays_open_for_its_time(circuit: _Circuit) -> None:
    circuit.fail(3)
    circuit.now = 9.9
    circuit.refuse()
    circuit.now = 10
    circuit.succeed()
    assert circuit.changes == [CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED]
    circuit.fail(2)
    circuit.succeed()


def test_a_failed_try_opens_it_for_another_while(circuit: _Circuit) -> None:
    circuit.fail(3)
    circuit.now = 10
    circuit.fail()
    assert circuit.state() is CircuitState.OPEN
    circuit.now = 19.9
    circuit.refuse()
    circuit.now = 20
    circuit.succeed()
    assert circuit.state() is CircuitState.CLOSED


def test_one_call_at_a_time_tries_it(circuit: _Circuit) -> None:
    circuit.fail(3)
    circuit.now = 10
    with circuit.breaker.call():
        circuit.refuse()
    circuit.succeed()
    assert circuit.state() is CircuitState.CLOSED


def test_a_try_that_is_cancelled_makes_room_for_the_next(circuit: _Circuit) -> None:
    circuit.fail(3)
    circuit.now = 10
    with pytest.raises(asyncio.CancelledError), circuit.breaker.call():
        raise asyncio.CancelledError
    assert circuit.state() is CircuitState.HALF_OPEN
    circuit.succeed()
    assert circuit.state() is CircuitState.CLOSED


def test_a_cancelled_call_is_neither_a_failure_nor_a_success(circuit: _Circuit) -> None:
    circuit.fail(2)
    with pytest.raises(asyncio.CancelledError), circuit.breaker.call():
        raise asyncio.CancelledError
    assert circuit.changes == []
    circuit.fail()
    assert circuit.state() is CircuitState.OPEN


def test_what_began_before_the_last_change_does_not_count(circuit: _Circuit) -> None:
    late_failure, late_success = circuit.breaker.call(), circuit.breaker.call()
    late_failure.__enter__()
    late_success.__enter__()
    circuit.fail(3)
    circuit.now = 5
    assert late_failure.__exit__(_Away, _Away(), None) is False
    circuit.now = 10
    with circuit.breaker.call():
        assert not late_success.__exit__(None, None, None)
        assert circuit.state() is CircuitState.HALF_OPEN
        circuit.refuse()
    assert circuit.state() is CircuitState.CLOSED
