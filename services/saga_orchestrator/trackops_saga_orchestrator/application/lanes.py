"""One action's way to its participant: what has gathered goes out as one batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from trackops_saga_orchestrator.application.breakers import Breaker
from trackops_saga_orchestrator.application.ports import BatchAction
from trackops_saga_orchestrator.domain.commands import StepCommand
from trackops_saga_orchestrator.domain.progress import Outcome, Parked, Unknown

__all__ = ["Lane", "Report"]

Report = Callable[[Sequence[StepCommand], Sequence[Outcome]], None]


class Lane:
    """Commands of one action, waiting or in the air.

    The lanes of different actions do not wait for each other, so the steps of
    different sagas overlap. Nothing bounds the queue here: the engine bounds
    the sagas in memory, and each has at most one command a step.

    While the participant is away the newest command stays, to be tried when
    the breaker says so; the others are parked. The newest, because one whose
    own trouble keeps it unanswered must not be the only one that is tried.
    """

    def __init__(
        self,
        call: BatchAction,
        breaker: Breaker,
        report: Report,
        wanted: Callable[[StepCommand], bool],
        *,
        max_batch: int,
    ) -> None:
        """`breaker` is its participant's; `wanted` is asked before a command is sent."""
        self._call = call
        self._breaker = breaker
        self._report = report
        self._wanted = wanted
        self._max_batch = max_batch
        self._waiting: deque[StepCommand] = deque()
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, command: StepCommand) -> None:
        """Have a command sent."""
        self._waiting.append(command)
        self._arrived.set()

    def look(self) -> None:
        """See whether it is time to try an absent participant again."""
        if self._waiting:
            self._arrived.set()

    def close(self) -> None:
        """Send nothing more; `work` returns once what is in the air has come back."""
        self._closed = True
        self._arrived.set()

    async def work(self) -> None:
        """Send batches, one at a time, until closed. Several may run side by side."""
        while not self._closed:
            if batch := self._next_batch():
                await self._send(batch)
            else:
                self._arrived.clear()
                await self._arrived.wait()

    def _next_batch(self) -> Sequence[StepCommand]:
        if not self._breaker.open:
            return self._take(self._max_batch)
        waiting = self._take(len(self._waiting))
        self._park(waiting[:-1])
        scout = waiting[-1:]
        if scout and self._breaker.may_probe:
            self._breaker.probing()
            return scout
        self._waiting.extend(scout)
        return ()

    async def _send(self, batch: Sequence[StepCommand]) -> None:
        outcomes = await self._call(batch)
        silences = [one for one in outcomes if isinstance(one, Unknown) and one.away]
        if len(silences) < len(outcomes):
            self._breaker.answered()
        else:
            reached = all(one.reached for one in silences)
            self._breaker.unanswered(
                silences[0].message,
                reached_for=[command.saga_id for command in batch] if reached else (),
            )
            if self._breaker.open:
                self._waiting.extendleft(reversed(batch))
                return
        self._report(batch, outcomes)

    def _park(self, commands: Sequence[StepCommand]) -> None:
        if commands:
            parked = Parked(self._breaker.message, self._breaker.parked_seconds)
            self._report(commands, [parked] * len(commands))

    def _take(self, most: int) -> Sequence[StepCommand]:
        batch: list[StepCommand] = []
        while self._waiting and len(batch) < most:
            command = self._waiting.popleft()
            if self._wanted(command):
                batch.append(command)
        return batch
