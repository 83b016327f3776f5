"""One action's way to its participant: what has gathered goes out as one batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from trackops_saga_orchestrator.application.ports import BatchAction
from trackops_saga_orchestrator.domain.instance import StepCommand
from trackops_saga_orchestrator.domain.progress import Outcome

__all__ = ["Lane", "Report"]

Report = Callable[[Sequence[StepCommand], Sequence[Outcome]], None]


class Lane:
    """Commands of one action, waiting or in the air.

    The lanes of different actions do not wait for each other, so the steps of
    different sagas overlap. Nothing bounds the queue here: the engine bounds
    the sagas in memory, and each has at most one command a step.
    """

    def __init__(
        self,
        call: BatchAction,
        report: Report,
        wanted: Callable[[StepCommand], bool],
        *,
        max_batch: int,
    ) -> None:
        """`wanted` is asked before a command is sent; unwanted ones are dropped."""
        self._call = call
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

    def close(self) -> None:
        """Send nothing more; `work` returns once what is in the air has come back."""
        self._closed = True
        self._arrived.set()

    async def work(self) -> None:
        """Send batches, one at a time, until closed. Several may run side by side."""
        while not self._closed:
            if batch := self._take():
                self._report(batch, await self._call(batch))
            else:
                self._arrived.clear()
                await self._arrived.wait()

    def _take(self) -> Sequence[StepCommand]:
        batch: list[StepCommand] = []
        while self._waiting and len(batch) < self._max_batch:
            command = self._waiting.popleft()
            if self._wanted(command):
                batch.append(command)
        return batch
