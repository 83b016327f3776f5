from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from trackops_common.batching import Batcher, BatchLimits, in_thread
from trackops_common.errors import (
    BatchRefused,
    DeadlineExceeded,
    DependencyUnavailable,
    Overloaded,
    TransientError,
)
from trackops_common.testing import eventually


class Work:
    """Runs batches when its gate is open; answers each command with itself as text."""

    def __init__(self, *, gate_open: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.errors: list[Exception] = []
        """Raised by the next runs, one each."""
        self.refused: set[int] = set()
        """A batch with one of these is refused."""
        self.gate = asyncio.Event()
        if gate_open:
            self.gate.set()

    async def __call__(self, commands: Sequence[int]) -> Sequence[str]:
        self.batches.append(list(commands))
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        if self.refused.intersection(commands):
            raise BatchRefused("a constraint")
        return [str(command) for command in commands]

    async def open(self) -> None:
        self.gate.set()

    def open_once(self) -> None:
        """For the run that stands at the gate; the next one waits again."""
        self.gate.set()
        self.gate.clear()

    @property
    def busy(self) -> bool:
        return bool(self.batches) and not self.gate.is_set()


async def _keep_busy(batcher: Batcher[int, str], work: Work) -> asyncio.Task[str | BatchRefused]:
    """Leaves the worker inside a run of the command 0."""
    first = asyncio.create_task(batcher.submit(0))
    await eventually(lambda: work.busy)
    return first


async def test_an_idle_batcher_runs_a_command_at_once_and_alone() -> None:
    work = Work()
    batcher = Batcher(work)

    assert [await batcher.submit(1), await batcher.submit(2)] == ["1", "2"]
    assert work.batches == [[1], [2]]


async def test_what_gathers_while_it_is_busy_runs_together_in_order() -> None:
    work = Work(gate_open=False)
    batcher = Batcher(work)
    first = await _keep_busy(batcher, work)

    *results, _ = await asyncio.gather(*map(batcher.submit, range(1, 6)), work.open())

    assert await first == "0"
    assert results == ["1", "2", "3", "4", "5"]
    assert work.batches == [[0], [1, 2, 3, 4, 5]]


async def test_each_submission_gets_the_results_of_its_own_commands() -> None:
    work = Work()
    batcher = Batcher(work)

    results = await asyncio.gather(
        batcher.submit_all([1, 2]), batcher.submit_all([]), batcher.submit_all([3, 4, 5])
    )

    assert list(results) == [["1", "2"], [], ["3", "4", "5"]]
    assert work.batches == [[1, 2, 3, 4, 5]]


async def test_a_batch_is_bounded_but_one_submission_is_never_cut() -> None:
    work = Work()
    batcher = Batcher(work, limits=BatchLimits(max_batch=3))

    await asyncio.gather(
        batcher.submit_all([1, 2]),
        batcher.submit_all([3, 4]),
        batcher.submit_all([5, 6, 7, 8, 9]),
        batcher.submit(10),
    )

    assert work.batches == [[1, 2], [3, 4], [5, 6, 7, 8, 9], [10]]


async def test_a_full_queue_refuses_at_once_and_takes_again_when_it_has_room() -> None:
    work = Work(gate_open=False)
    batcher = Batcher(work, limits=BatchLimits(max_waiting=3, retry_after_seconds=0.25))
    first = await _keep_busy(batcher, work)
    waiting = asyncio.create_task(batcher.submit_all([1, 2]))
    refused = asyncio.create_task(batcher.submit_all([3, 4]))

    with pytest.raises(Overloaded) as overloaded:
        await refused
    assert overloaded.value.retry_after_seconds == 0.25
    fitting = asyncio.create_task(batcher.submit(5))
    await asyncio.gather(first, waiting, fitting, work.open())

    assert work.batches == [[0], [1, 2, 5]]
    assert await batcher.submit_all([6, 7, 8]) == ["6", "7", "8"]


def _takes_more(batcher: Batcher[int, str]) -> bool:
    try:
        batcher.expect_room()
    except Overloaded:
        return False
    return True


async def test_after_slow_runs_fewer_may_wait_and_after_fast_ones_more_again() -> None:
    work = Work(gate_open=False)
    batcher = Batcher(work, limits=BatchLimits(max_wait_seconds=0.01, retry_after_seconds=0.25))
    slow = asyncio.create_task(batcher.submit_all(range(20)))
    await eventually(lambda: work.busy)
    unknown_pace = [asyncio.create_task(batcher.submit(command)) for command in range(100, 300)]
    long_enough = time.monotonic() + 0.1
    await eventually(lambda: time.monotonic() > long_enough)
    assert _takes_more(batcher)
    work.open_once()
    await slow
    await eventually(lambda: len(work.batches) == 2)

    waiting: list[asyncio.Task[str | BatchRefused]] = []
    while _takes_more(batcher):
        waiting.append(asyncio.create_task(batcher.submit(len(waiting))))
        await asyncio.sleep(0)
    with pytest.raises(Overloaded) as overloaded:
        await batcher.submit(0)

    assert len(waiting) == 128
    assert overloaded.value.retry_after_seconds == 0.25
    await work.open()
    await asyncio.gather(*unknown_pace, *waiting)

    async def takes_a_burst() -> bool:
        await batcher.submit_all(range(20))
        burst = [asyncio.create_task(batcher.submit(command)) for command in range(200)]
        outcomes = await asyncio.gather(*burst, return_exceptions=True)
        return not any(isinstance(one, Exception) for one in outcomes)

    await eventually(takes_a_burst)


async def test_what_finds_nobody_waiting_is_taken_however_large_and_slow() -> None:
    work = Work(gate_open=False)
    batcher = Batcher(work, limits=BatchLimits(max_wait_seconds=0.0))
    slow = asyncio.create_task(batcher.submit_all(range(20)))
    await eventually(lambda: work.busy)
    await work.open()
    await slow

    assert await batcher.submit_all(range(500)) == [str(number) for number in range(500)]


async def test_a_command_whose_deadline_passed_while_it_waited_is_not_run() -> None:
    work = Work(gate_open=False)
    batcher = Batcher(work)
    first = await _keep_busy(batcher, work)
    hurried = asyncio.create_task(batcher.submit(1, timeout_seconds=0.01))
    patient = asyncio.create_task(batcher.submit(2, timeout_seconds=30))
    too_late = time.monotonic() + 0.05
    await eventually(lambda: time.monotonic() > too_late)

    await work.open()

    with pytest.raises(DeadlineExceeded):
        await hurried
    assert [await first, await patient] == ["0", "2"]
    assert work.batches == [[0], [2]]


async def test_a_transient_error_runs_the_same_batch_again() -> None:
    work = Work()
    work.errors = [TransientError("deadlock"), TransientError("deadlock")]
    batcher = Batcher(work)

    assert await asyncio.gather(*map(batcher.submit, [1, 2])) == ["1", "2"]
    assert work.batches == [[1, 2]] * 3


async def test_transient_errors_that_do_not_end_are_a_dependency_that_is_away() -> None:
    work = Work()
    work.errors = [TransientError("gone")]
    batcher = Batcher(work, limits=BatchLimits(retry_seconds=0), dependency="the ledger")

    with pytest.raises(DependencyUnavailable, match="the ledger is not available") as failed:
        await batcher.submit(1)

    assert isinstance(failed.value.__cause__, TransientError)
    assert await batcher.submit(2) == "2"


async def test_a_rerun_leaves_out_whose_deadline_passed_meanwhile() -> None:
    work = Work(gate_open=False)
    work.errors = [TransientError("gone")]
    batcher = Batcher(work)
    hurried = asyncio.create_task(batcher.submit(1, timeout_seconds=0.02))
    patient = asyncio.create_task(batcher.submit(2))
    await eventually(lambda: work.busy)
    too_late = time.monotonic() + 0.05
    await eventually(lambda: time.monotonic() > too_late)

    await work.open()

    with pytest.raises(DeadlineExceeded):
        await hurried
    assert await patient == "2"
    assert work.batches == [[1, 2], [2]]


@pytest.mark.parametrize("bad", [{0}, {7}, {15}, {3, 4}, set(range(16))])
async def test_a_refused_batch_is_split_until_only_the_bad_ones_fail(bad: set[int]) -> None:
    work = Work()
    work.refused = bad
    batcher = Batcher(work)

    results = await asyncio.gather(*map(batcher.submit, range(16)), return_exceptions=True)

    assert work.batches[0] == list(range(16))
    for command, result in enumerate(results):
        if command in bad:
            assert isinstance(result, BatchRefused)
        else:
            assert result == str(command)


@pytest.mark.parametrize("bad", [{0}, {7}, {3, 4}, set(range(8))])
async def test_a_refused_command_fails_alone_in_its_submission_too(bad: set[int]) -> None:
    work = Work()
    work.refused = bad
    batcher = Batcher(work)

    results = await batcher.submit_all(range(8))

    assert [number for number, result in enumerate(results) if isinstance(result, str)] == [
        number for number in range(8) if number not in bad
    ]
    assert all(isinstance(results[number], BatchRefused) for number in bad)


async def test_a_command_refused_for_what_another_was_writing_is_run_once_more() -> None:
    work = Work()
    work.errors = [BatchRefused("a key that is committed by now")]

    assert await Batcher(work).submit(1) == "1"
    assert work.batches == [[1], [1]]


async def test_an_error_in_one_half_of_a_split_submission_is_its_error() -> None:
    work = Work()
    work.errors = [BatchRefused("a constraint"), KeyError("a defect")]

    with pytest.raises(KeyError):
        await Batcher(work).submit_all([1, 2])


async def test_within_one_submission_too_only_the_bad_ones_fail() -> None:
    work = Work()
    work.refused = {3, 4}
    batcher = Batcher(work)

    results, other = await asyncio.gather(batcher.submit_all(range(7)), batcher.submit(7))

    assert [type(result) for result in results] == [str] * 3 + [BatchRefused] * 2 + [str] * 2
    assert [*results[:3], *results[5:], other] == ["0", "1", "2", "5", "6", "7"]


async def test_a_command_that_stands_alone_is_tried_once_more() -> None:
    """What was in its way may be committed by then and found."""
    work = Work()
    work.errors = [BatchRefused("a row that is not committed yet")]
    batcher = Batcher(work)

    assert await batcher.submit(1) == "1"
    assert work.batches == [[1], [1]]


async def test_a_part_of_a_submission_that_fails_otherwise_fails_all_of_it() -> None:
    work = Work()
    work.errors = [BatchRefused("split"), KeyError("a defect")]
    batcher = Batcher(work)

    with pytest.raises(KeyError):
        await batcher.submit_all([1, 2])
    assert await batcher.submit(3) == "3"


async def test_an_unexpected_error_reaches_every_caller_and_the_next_batch_runs() -> None:
    work = Work()
    work.errors = [KeyError("a defect")]
    batcher = Batcher(work)

    results = await asyncio.gather(*map(batcher.submit, range(3)), return_exceptions=True)

    assert [type(result) for result in results] == [KeyError] * 3
    assert await batcher.submit(4) == "4"
    assert work.batches == [[0, 1, 2], [4]]


async def test_a_run_that_answers_too_few_is_a_defect_that_every_caller_is_told() -> None:
    async def forgetful(commands: Sequence[int]) -> Sequence[int]:
        return commands[:-1]

    batcher = Batcher(forgetful)

    results = await asyncio.gather(*map(batcher.submit, range(3)), return_exceptions=True)

    assert [type(result) for result in results] == [ValueError] * 3


async def test_closing_runs_what_waits_and_refuses_what_comes_later() -> None:
    work = Work(gate_open=False)
    batcher = Batcher(work)
    first = await _keep_busy(batcher, work)
    waiting = [asyncio.create_task(batcher.submit(command)) for command in (1, 2)]

    _, late, _ = await asyncio.gather(
        batcher.close(), batcher.submit(8), work.open(), return_exceptions=True
    )

    assert isinstance(late, Overloaded)
    assert await asyncio.gather(first, *waiting) == ["0", "1", "2"]
    assert work.batches == [[0], [1, 2]]
    with pytest.raises(Overloaded):
        await batcher.submit(9)


@pytest.mark.parametrize("used_before", [False, True])
async def test_closing_an_idle_batcher_ends_its_worker(used_before: bool) -> None:
    batcher = Batcher(Work())
    if used_before:
        await batcher.submit(1)

    async with asyncio.timeout(5):
        await batcher.close()
        await batcher.close()

    assert [task for task in asyncio.all_tasks() if task.get_name() == "batcher"] == []


async def test_what_is_submitted_in_the_turn_before_closing_is_still_run() -> None:
    work = Work()
    batcher = Batcher(work)
    await batcher.submit(0)

    result, _ = await asyncio.gather(batcher.submit(1), batcher.close())

    assert result == "1"


async def test_a_caller_that_left_while_waiting_is_not_run() -> None:
    work = Work(gate_open=False)
    batcher = Batcher(work)
    first = await _keep_busy(batcher, work)
    leaver, stayer = (asyncio.create_task(batcher.submit(command)) for command in (1, 2))
    await asyncio.gather(_cancel(leaver), work.open())

    assert [await first, await stayer] == ["0", "2"]
    assert leaver.cancelled()
    assert work.batches == [[0], [2]]


async def test_a_caller_that_left_while_its_batch_ran_takes_nobodys_result() -> None:
    work = Work(gate_open=False)
    batcher = Batcher(work)
    leaver, stayer = (asyncio.create_task(batcher.submit(command)) for command in (1, 2))
    await eventually(lambda: work.busy)

    await asyncio.gather(_cancel(leaver), work.open())

    assert await stayer == "2"
    assert leaver.cancelled()
    assert work.batches == [[1, 2]]


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()


async def test_blocking_work_runs_in_the_executor() -> None:
    def double(commands: Sequence[int]) -> Sequence[int]:
        return [command * 2 for command in commands]

    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(in_thread(executor, double))
        assert await asyncio.gather(*map(batcher.submit, [1, 2, 3])) == [2, 4, 6]


async def test_a_worker_that_is_cancelled_leaves_nobody_waiting_for_ever() -> None:
    work = Work(gate_open=False)
    batcher = Batcher(work)
    first = await _keep_busy(batcher, work)
    second = asyncio.create_task(batcher.submit(1))
    worker = next(task for task in asyncio.all_tasks() if task.get_name() == "batcher")

    await asyncio.gather(_cancel(worker), work.open())

    async with asyncio.timeout(5):
        for caller in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await caller
        assert await batcher.submit(2) == "2"
