from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from trackops_common.bounded_calls import BoundedCalls, CallLimits, Places
from trackops_common.errors import DependencyUnavailable, Overloaded, TransientError
from trackops_common.testing import eventually

LIMITS = CallLimits(max_running=2, max_waiting=3)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


class Gate:
    """Blocks whoever runs until it is opened, and counts."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.running = 0
        self.most = 0
        self.done: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, number: int) -> int:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.opened.wait(10)
        with self._lock:
            self.running -= 1
            self.done.append(number)
        return number


async def test_few_run_at_once_and_each_gets_its_own_result(threads: ThreadPoolExecutor) -> None:
    gate = Gate()
    calls = BoundedCalls(threads, gate, places=Places(LIMITS))
    tasks = [asyncio.create_task(calls.submit(number)) for number in range(5)]
    await eventually(lambda: gate.running == 2)
    gate.opened.set()

    assert await asyncio.gather(*tasks) == list(range(5))
    assert gate.most == 2


async def test_calls_that_share_places_share_the_bounds(threads: ThreadPoolExecutor) -> None:
    gate, places = Gate(), Places(LIMITS)
    several = [BoundedCalls(threads, gate, places=places) for _ in range(3)]
    tasks = [asyncio.create_task(calls.submit(n)) for n, calls in enumerate(several)]
    await eventually(lambda: gate.running == 2)
    gate.opened.set()

    assert await asyncio.gather(*tasks) == [0, 1, 2]
    assert gate.most == 2


async def test_too_many_are_refused(threads: ThreadPoolExecutor) -> None:
    gate = Gate()
    calls = BoundedCalls(threads, gate, places=Places(LIMITS))
    tasks = [asyncio.create_task(calls.submit(number)) for number in range(5)]
    await eventually(lambda: gate.running == 2)

    with pytest.raises(Overloaded):
        await calls.submit(5)

    gate.opened.set()
    await asyncio.gather(*tasks)


async def test_who_goes_away_while_waiting_is_not_served_and_who_runs_keeps_its_place(
    threads: ThreadPoolExecutor,
) -> None:
    gate = Gate()
    calls = BoundedCalls(threads, gate, places=Places(LIMITS))
    tasks = [asyncio.create_task(calls.submit(number)) for number in range(4)]
    await eventually(lambda: gate.running == 2)
    for task in (tasks[0], tasks[2]):
        task.cancel()
    await asyncio.wait([tasks[0], tasks[2]])
    assert gate.most == 2

    gate.opened.set()

    assert await tasks[3] == 3
    await tasks[1]
    assert gate.most == 2
    assert sorted(gate.done) == [0, 1, 3]


@pytest.mark.parametrize("failures", [1, 2])
async def test_a_transient_error_is_tried_again_once(
    threads: ThreadPoolExecutor, failures: int
) -> None:
    errors = [TransientError("lost")] * failures

    def run(command: str) -> str:
        if errors:
            raise errors.pop()
        return command

    calls = BoundedCalls(threads, run)

    if failures == 1:
        assert await calls.submit("c") == "c"
    else:
        with pytest.raises(DependencyUnavailable):
            await calls.submit("c")


async def test_any_other_error_is_the_callers(threads: ThreadPoolExecutor) -> None:
    def run(command: str) -> str:
        raise LookupError(command)

    with pytest.raises(LookupError):
        await BoundedCalls(threads, run).submit("c")


async def test_what_fails_after_its_caller_left_is_no_defect(threads: ThreadPoolExecutor) -> None:
    """asyncio tells of outcomes that nobody looked at, as errors in the log."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    going_on, ended = threading.Event(), threading.Event()

    def refuse(_: int) -> int:
        going_on.wait(10)
        ended.set()
        raise LookupError

    calls = BoundedCalls(threads, refuse, places=Places(CallLimits(max_running=1)))
    left = asyncio.create_task(calls.submit(1))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.wait([left])
    del left  # it knows what it waited for
    going_on.set()
    with pytest.raises(LookupError):
        await calls.submit(2)
    gc.collect()

    assert ended.is_set()
    assert told == []
