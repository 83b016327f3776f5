"""What goes out as one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from trackops_saga_orchestrator.application.breakers import Breaker, BreakerLimits
from trackops_saga_orchestrator.application.lanes import Lane
from trackops_saga_orchestrator.domain.commands import StepCommand
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import Done, Outcome

from .saga_fakes import START, FakeClock


def reserve(subject: str) -> StepCommand:
    (command,) = SagaInstance.start(PLACE_ORDER, subject, {}, now=START).due_commands(START)
    return command


async def batches_of(*subjects: str, unwanted: str = "", max_batch: int = 10) -> list[list[str]]:
    """The batches in which a lane sends commands that wait when it begins."""
    sent: list[list[str]] = []

    async def call(commands: Sequence[StepCommand]) -> Sequence[Outcome]:
        sent.append([command.subject for command in commands])
        return [Done()] * len(commands)

    def report(commands: Sequence[StepCommand], _: Sequence[Outcome]) -> None:
        if commands[-1].subject == subjects[-1]:
            lane.close()

    breaker = Breaker("inventory", FakeClock(), BreakerLimits(), lambda _: None)
    lane = Lane(call, breaker, report, lambda one: one.subject != unwanted, max_batch=max_batch)
    for subject in subjects:
        lane.put(reserve(subject))
    async with asyncio.timeout(5):
        await lane.work()
    return sent


async def test_what_waits_goes_out_together() -> None:
    assert await batches_of("a", "b", "c") == [["a", "b", "c"]]


async def test_batches_are_bounded() -> None:
    assert await batches_of("a", "b", "c", max_batch=2) == [["a", "b"], ["c"]]


async def test_command_that_is_not_wanted_any_more_is_not_sent() -> None:
    assert await batches_of("a", "b", "c", unwanted="b") == [["a", "c"]]
