"""Where the code can be asked, it does what the model says."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from trackops_outbox_relay.application.start_source import StartSource
from trackops_outbox_relay.domain.checkpoint import OutboxRow
from trackops_outbox_relay.domain.quarantine import Fault
from trackops_outbox_relay.domain.standing import Standing, Step, advance
from trackops_saga_orchestrator.domain.commands import Phase
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import (
    Done,
    Outcome,
    Refused,
    SagaState,
    StepState,
    Unknown,
)
from trackops_saga_orchestrator.domain.saga import Saga as Definition

from . import saga_book
from .saga_book import DONE, GIVEN_UP, PIVOT, REFUSED, START, STEPS, UNKNOWN, Command, Saga

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_DEFINITION = Definition("place-order", version=1, steps=PLACE_ORDER.steps)
_OUTCOMES: dict[str, Outcome] = {
    DONE: Done(),
    REFUSED: Refused("REFUSED", "no"),
    UNKNOWN: Unknown("no answer"),
    GIVEN_UP: Unknown("no answer"),
}


def _moves() -> list[tuple[Saga, Command, str]]:
    """Every saga that outcomes lead to, and every outcome there."""
    found, waiting = {START}, [START]
    moves = []
    while waiting:
        saga = waiting.pop()
        command = saga_book.command_due(saga)
        if command is None:
            continue
        for outcome in _possible(command):
            moves.append((saga, command, outcome))
            after = saga_book.recorded(saga, command, outcome, only_done=False)
            if after not in found:
                found.add(after)
                waiting.append(after)
    return moves


def _possible(command: Command) -> list[str]:
    if command.phase == saga_book.COMPENSATION:
        return [DONE, UNKNOWN]
    return [DONE, REFUSED, UNKNOWN] + ([GIVEN_UP] if command.step != PIVOT else [])


def _instance(saga: Saga, *, last_attempt: bool = False) -> SagaInstance:
    started = SagaInstance.start(_DEFINITION, "order", {}, now=_NOW).snapshot()
    steps = []
    for step, state in zip(started.steps, saga.steps, strict=True):
        limit = _DEFINITION.all_steps[step.name].retry_policy.attempts or 0
        attempts = limit - 1 if last_attempt and state == "SENT" else 0
        steps.append(dataclasses.replace(step, state=StepState(state), attempts=attempts))
    stored = dataclasses.replace(started, state=SagaState(saga.state), steps=steps)
    return SagaInstance.rehydrate(_DEFINITION, stored)


def _book(instance: SagaInstance) -> Saga:
    stored = instance.snapshot()
    return Saga(stored.state.value, tuple(step.state.value for step in stored.steps))


def test_a_new_saga_is_the_models() -> None:
    assert tuple(step.name for step in PLACE_ORDER.steps) == STEPS
    assert _book(SagaInstance.start(_DEFINITION, "order", {}, now=_NOW)) == START


@pytest.mark.parametrize(("saga", "command", "outcome"), _moves(), ids=str)
def test_a_saga_goes_on_as_the_models_does(saga: Saga, command: Command, outcome: str) -> None:
    instance = _instance(saga, last_attempt=outcome == GIVEN_UP)
    (due,) = instance.due_commands(_NOW)
    phase = Phase.ACTION if command.phase == saga_book.ACTION else Phase.COMPENSATION
    assert (due.step, due.phase) == (STEPS[command.step], phase)
    instance.record(due.step, due.phase, _OUTCOMES[outcome], now=_NOW, jitter=lambda: 0.0)
    assert _book(instance) == saga_book.recorded(saga, command, outcome, only_done=False)


class _Witness:
    """Kafka and the relay's schema, both empty, and the order in which they were asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def topic_id(self) -> str:
        return "topic"

    def last(self, source: str) -> Standing | None:  # noqa: ARG002
        self.asked.append("reads its checkpoint")
        return None

    def found(self, source: str) -> Standing:
        raise NotImplementedError(source)

    def checkpoint_topic_id(self, source: str) -> str | None:  # noqa: ARG002
        self.asked.append("asks whether the source is known")
        return None

    def remember(self, source: str, topic_id: str) -> None:  # noqa: ARG002
        self.asked.append("remembers the source")

    def faults(self, rows: Sequence[OutboxRow]) -> Mapping[int, Fault]:
        raise NotImplementedError(rows)

    def begin(self, step: Step) -> None:  # noqa: ARG002
        self.asked.append("produces the checkpoint")

    def commit(self) -> None:
        self.asked.append("commits")


def test_a_source_starts_in_the_models_order() -> None:
    """Another order is the flaw `known_asked_late`, or `remembered_first`."""
    witness = _Witness()
    StartSource(witness, witness)("trackops_order", witness)
    assert witness.asked == [
        "asks whether the source is known",
        "reads its checkpoint",
        "produces the checkpoint",
        "commits",
        "remembers the source",
    ]


def test_the_checkpoint_of_a_transaction_is_that_of_its_last_row() -> None:
    rows = [
        OutboxRow(seq, str(uuid.UUID(int=seq)), "topic", "key", "type", 1, b"", "", "")
        for seq in (3, 5)
    ]
    step = advance(Standing(), rows, {}, at=_NOW)
    assert list(step.rows) == rows
    assert step.standing.checkpoint == rows[-1].checkpoint
