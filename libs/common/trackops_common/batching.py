"""Many calls, one unit of work.

A handler submits its command and awaits the result; the worker takes whatever
has gathered while it was busy. There is no timer, so an idle system adds no
delay and a busy one forms larger batches by itself.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Generic, TypeVar

from trackops_common.errors import (
    BatchRefused,
    DeadlineExceeded,
    DependencyUnavailable,
    Overloaded,
    TransientError,
)
from trackops_common.traces.spans import Span, joint_of, recorded

__all__ = ["BatchLimits", "BatchMeter", "Batcher", "in_thread"]

C = TypeVar("C")
R = TypeVar("R")

_TELLING = 16
"""Commands of a run that says how long one takes: smaller runs are nearly all overhead."""
_ALWAYS_WAIT = 128
"""Commands that may wait however slow the runs of late were: a burst after a single slow run is no
overload, and faster runs are noticed only if there are any."""
_NEWEST = 0.3
"""What the newest run counts beside those before it."""

Run = Callable[[Sequence[C]], Awaitable[Sequence[R]]]
"""Runs a batch: as many results as commands, in their order. A domain error is a result."""

BatchMeter = Callable[[int, float], None]
"""Told of each batch that begins: its commands, and for how many seconds the first waited."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of a batcher."""

    max_batch: int = 256
    """Commands that one run takes, unless a single submission is larger."""
    max_waiting: int = 4096
    """Commands that may wait; above it `submit` raises `Overloaded`."""
    max_wait_seconds: float = float("inf")
    """What may wait is no more than can be run in that time, going by the runs of late; above it
    `submit` raises `Overloaded`. For calls at the door, whose callers would give up while they
    wait: work that was accepted is not to be refused half way."""
    retry_seconds: float = 10.0
    """How long a batch is run again after transient errors, deadlines permitting."""
    retry_after_seconds: float = 0.1
    """What an overloaded caller is told."""


@dataclass(slots=True)
class _Submission(Generic[C, R]):
    commands: Sequence[C]
    since: float
    deadline: float
    done: asyncio.Future[Sequence[R | BatchRefused]]
    span: Span | None = None
    """Of the caller, where it is recorded."""

    def part(self, commands: Sequence[C]) -> _Submission[C, R]:
        """Some of its commands, as a submission of their own."""
        done = asyncio.get_running_loop().create_future()
        return _Submission(commands, self.since, self.deadline, done, self.span)

    def expired(self) -> bool:
        return self.done.done() or self.deadline <= time.monotonic()

    def succeed(self, results: Sequence[R | BatchRefused]) -> None:
        if not self.done.done():
            self.done.set_result(results)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def in_thread(executor: Executor, run: Callable[[Sequence[C]], Sequence[R]]) -> Run[C, R]:
    """`run`, which blocks, as something to await."""

    async def call(commands: Sequence[C]) -> Sequence[R]:
        run_here = copy_context().run
        return await asyncio.get_running_loop().run_in_executor(executor, run_here, run, commands)

    return call


class Batcher(Generic[C, R]):
    """Gathers submissions and runs them together, one batch at a time.

    A `TransientError` from `run` reruns the batch, with back-off, for callers
    that still wait; a `BatchRefused` splits it until the command at fault is
    alone and has that error for its result; any other error goes to every
    caller of the batch.
    """

    def __init__(
        self,
        run: Run[C, R],
        *,
        limits: BatchLimits | None = None,
        dependency: str = "the database",
        meter: BatchMeter | None = None,
        name: str = "",
    ) -> None:
        """`name` is what spans of its batches say."""
        self._run = run
        self._span_name = f"batch {name}".strip()
        self._meter = meter
        self._limits = limits or BatchLimits()
        self._dependency = dependency
        self._waiting: deque[_Submission[C, R]] = deque()
        self._waiting_commands = 0
        self._command_seconds = 0.0
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._closing = False
        self._began: float | None = None

    @property
    def busy_seconds(self) -> float:
        """How long the present run of a batch has taken so far; 0 between runs."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def expect_room(self, commands: int = 1) -> None:
        """Whether a submission would be taken now; of no effect.

        Raises:
            Overloaded: too much is waiting already.
        """
        after = self._waiting_commands + commands
        if self._closing or after > self._limits.max_waiting or self._is_slow():
            raise Overloaded(retry_after_seconds=self._limits.retry_after_seconds)

    def _is_slow(self) -> bool:
        """Whether what waits takes longer than it may, whatever its number."""
        waiting = self._waiting_commands
        seconds = waiting * self._command_seconds
        return waiting >= _ALWAYS_WAIT and seconds > self._limits.max_wait_seconds

    async def submit(self, command: C, *, timeout_seconds: float | None = None) -> R | BatchRefused:
        """The result of `command`; see `submit_all`."""
        return (await self.submit_all([command], timeout_seconds=timeout_seconds))[0]

    async def submit_all(
        self, commands: Sequence[C], *, timeout_seconds: float | None = None
    ) -> Sequence[R | BatchRefused]:
        """The results of `commands`, which run in one batch, in their order.

        A command that the database refuses has a `BatchRefused` for its result.

        Raises:
            Overloaded: too much is waiting already; nothing was done.
            DeadlineExceeded: `timeout_seconds` passed before the batch ran.
            DependencyUnavailable: transient errors did not end in time.
        """
        self.expect_room(len(commands))
        if self._worker is None or self._worker.done():
            # In a context of its own: its batches are not the first caller's.
            work = self._work()
            self._worker = asyncio.create_task(work, name="batcher", context=Context())
        patience = timeout_seconds if timeout_seconds is not None else float("inf")
        done: asyncio.Future[Sequence[R | BatchRefused]]
        done = asyncio.get_running_loop().create_future()
        now = time.monotonic()
        submission = _Submission(commands, now, now + patience, done, recorded())
        self._waiting.append(submission)
        self._waiting_commands += len(commands)
        self._arrived.set()
        return await done

    async def close(self) -> None:
        """Run what waits, then stop. Later submissions are refused."""
        self._closing = True
        self._arrived.set()
        if self._worker is not None:
            await self._worker

    async def _work(self) -> None:
        batch: list[_Submission[C, R]] = []
        try:
            while True:
                await self._arrived.wait()
                while batch := self._take():
                    size, began = sum(len(one.commands) for one in batch), time.monotonic()
                    if self._meter is not None:
                        self._meter(size, began - batch[0].since)
                    await self._run_batch(batch)
                    self._note_pace(size, time.monotonic() - began)
                if self._closing:
                    return
                self._arrived.clear()
        finally:  # cancelled: nobody is left to resolve these
            for submission in (*batch, *self._waiting):
                submission.done.cancel()

    def _note_pace(self, commands: int, seconds: float) -> None:
        if commands >= _TELLING:
            newest = seconds / commands
            before = self._command_seconds or newest
            self._command_seconds = before + _NEWEST * (newest - before)

    def _take(self) -> list[_Submission[C, R]]:
        batch: list[_Submission[C, R]] = []
        size = 0
        while self._waiting:
            size += len(self._waiting[0].commands)
            if batch and size > self._limits.max_batch:
                break
            submission = self._waiting.popleft()
            self._waiting_commands -= len(submission.commands)
            batch.append(submission)
        return batch

    async def _run_batch(self, batch: list[_Submission[C, R]]) -> None:
        give_up = time.monotonic() + self._limits.retry_seconds
        for attempt in range(1_000_000):
            batch = _still_awaited(batch)
            if not batch:
                return
            try:
                await self._run_once(batch)
            except TransientError as error:
                if time.monotonic() >= give_up:
                    _fail_all(batch, DependencyUnavailable(self._dependency), cause=error)
                    return
                await asyncio.sleep(random.uniform(0, 0.02 * 2 ** min(attempt, 6)))  # noqa: S311 - jitter
            except BatchRefused:
                await self._split(batch)
                return
            except Exception as error:  # noqa: BLE001 - every caller is told, whatever it is
                _fail_all(batch, error)
                return
            else:
                return

    async def _run_once(self, batch: list[_Submission[C, R]]) -> None:
        commands = [command for submission in batch for command in submission.commands]
        self._began = time.monotonic()
        callers = [one.span for one in batch if one.span is not None]
        try:
            with joint_of(self._span_name, callers, {"trackops.batch.size": len(commands)}):
                results = await self._run(commands)
        finally:
            self._began = None
        if len(results) != len(commands):
            raise ValueError(f"{len(results)} results for {len(commands)} commands")
        start = 0
        for submission in batch:
            end = start + len(submission.commands)
            submission.succeed(results[start:end])
            start = end

    async def _split(self, batch: list[_Submission[C, R]]) -> None:
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._run_batch(batch[:middle])
            await self._run_batch(batch[middle:])
        elif len(batch[0].commands) > 1:
            await self._split_submission(batch[0])
        else:
            await self._run_alone(batch[0])

    async def _split_submission(self, submission: _Submission[C, R]) -> None:
        middle = len(submission.commands) // 2
        halves = [
            submission.part(submission.commands[:middle]),
            submission.part(submission.commands[middle:]),
        ]
        for half in halves:
            await self._run_batch([half])
        first, second = await asyncio.gather(*(h.done for h in halves), return_exceptions=True)
        if isinstance(first, BaseException) or isinstance(second, BaseException):
            submission.fail(next(one for one in (first, second) if isinstance(one, Exception)))
        else:
            submission.succeed([*first, *second])

    async def _run_alone(self, submission: _Submission[C, R]) -> None:
        """Once more: a row that was in the way, and is committed now, will be found this time."""
        try:
            await self._run_once([submission])
        except BatchRefused as refused:
            submission.succeed([refused])
        except Exception as error:  # noqa: BLE001 - the caller is told, whatever it is
            submission.fail(error)


def _still_awaited(batch: list[_Submission[C, R]]) -> list[_Submission[C, R]]:
    for submission in batch:
        if submission.expired():
            submission.fail(DeadlineExceeded())
    return [submission for submission in batch if not submission.done.done()]


def _fail_all(
    batch: list[_Submission[C, R]], error: Exception, *, cause: Exception | None = None
) -> None:
    error.__cause__ = cause or error.__cause__
    for submission in batch:
        submission.fail(error)
