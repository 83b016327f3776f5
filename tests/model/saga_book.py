"""The model's place-order saga as a value: two steps that can be undone, then the pivot.

What `trackops_saga_orchestrator.domain.instance.SagaInstance` does with an
outcome, without times, attempts and operators. A test holds the two side by
side in every state that the exploration reaches.
"""

from __future__ import annotations

from typing import NamedTuple

from .chain_state import put

__all__ = [
    "ACTION",
    "COMPENSATION",
    "DONE",
    "GIVEN_UP",
    "PIVOT",
    "REFUSED",
    "START",
    "STEPS",
    "UNKNOWN",
    "Command",
    "Saga",
    "command_due",
    "recorded",
]

STEPS = ("reserve-stock", "authorize-payment", "confirm-order")
PIVOT = 2
"""The last step, which has no compensation."""

ACTION, COMPENSATION = "action", "compensation"
DONE, REFUSED, UNKNOWN, GIVEN_UP = "done", "refused", "unknown", "given up"
"""Outcomes; the last one is an unknown one after which no attempt is left."""


class Command(NamedTuple):
    """What is sent to a participant; its `request_id` is made from nothing else."""

    step: int
    phase: str


class Saga(NamedTuple):
    """How far it is; the words are those of the rows."""

    state: str
    steps: tuple[str, ...]

    @property
    def ended(self) -> bool:
        return self.state in ("COMPLETED", "COMPENSATED")


START = Saga("RUNNING", ("SENT", "WAITING", "WAITING"))
"""As stored by the transaction of the trigger: the first step counts as sent."""


def command_due(saga: Saga) -> Command | None:
    """What a resident saga sends once it is stored."""
    for step, state in enumerate(saga.steps):
        if state == "SENT" and saga.state == "RUNNING":
            return Command(step, ACTION)
        if state == "COMPENSATING":
            return Command(step, COMPENSATION)
    return None


def recorded(saga: Saga, command: Command, outcome: str, *, only_done: bool) -> Saga:
    """The saga after an outcome.

    `only_done` is the flaw: a step that was refused counts as one that never was.
    """
    step, phase = command
    expected = "SENT" if phase == ACTION else "COMPENSATING"
    if saga.ended or saga.steps[step] != expected or outcome == UNKNOWN:
        return saga
    if outcome == DONE:
        after = "DONE" if phase == ACTION else "COMPENSATED"
        return _advanced(saga._replace(steps=put(saga.steps, step, after)))
    if step == PIVOT:
        return _advanced(Saga("COMPENSATING", put(saga.steps, step, "REFUSED")))
    undone = "COMPENSATED" if only_done else "COMPENSATING"
    return _advanced(Saga("COMPENSATING", put(saga.steps, step, undone)))


def _advanced(saga: Saga) -> Saga:
    if saga.state == "RUNNING":
        if "WAITING" not in saga.steps:
            return saga._replace(state="COMPLETED") if saga.steps[PIVOT] == "DONE" else saga
        following = saga.steps.index("WAITING")
        return saga._replace(steps=put(saga.steps, following, "SENT"))
    if "COMPENSATING" in saga.steps:
        return saga
    for step in reversed(range(PIVOT)):
        if saga.steps[step] in ("SENT", "DONE"):
            return saga._replace(steps=put(saga.steps, step, "COMPENSATING"))
    return saga._replace(state="COMPENSATED")
