"""Every step's failure of place-order, without a clock, a network or a database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from trackops_saga_orchestrator.domain.commands import Phase, StepCommand
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.participants import inventory, order, payment
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import (
    Done,
    Failure,
    Outcome,
    Refused,
    SagaState,
    StepState,
    Unknown,
)
from trackops_saga_orchestrator.domain.steps import Action

from .saga_fakes import START

DECLINED = Refused("PAYMENT_DECLINED", "the card was declined")
SHORT = Refused("INSUFFICIENT_STOCK", "1 of 3 available")
FORBIDDEN = Refused("FORBIDDEN_TRANSITION", "the order is not PENDING")
AWAY = Unknown("UNAVAILABLE: no answer")


class Run:
    """A saga and what it asked for; waits are over at once."""

    def __init__(self) -> None:
        self.now = START
        self.saga = SagaInstance.start(PLACE_ORDER, "order-1", {}, now=self.now)
        self.sent: list[Action] = []
        self.request_ids: list[str] = []
        self.last: Sequence[StepCommand] = ()
        self.ask()

    def ask(self) -> None:
        self.last = self.saga.due_commands(self.now)
        self.sent += [command.action for command in self.last]
        self.request_ids += [command.request_id for command in self.last]

    def answer(self, *outcomes: Outcome) -> Run:
        """Each outcome for the one command that is in the air."""
        for outcome in outcomes:
            (command,) = self.last
            self.saga.record(command.step, command.phase, outcome, now=self.now, jitter=lambda: 0.5)
            self.now = self.saga.next_due or self.now
            self.ask()
        return self

    def states(self) -> list[StepState]:
        return [step.state for step in self.saga.steps.values()]


def test_all_goes_well() -> None:
    run = Run().answer(Done(), Done(), Done())
    assert run.saga.state is SagaState.COMPLETED
    assert run.sent == [inventory.reserve, payment.authorize, order.confirm]
    assert run.states() == [StepState.DONE] * 3 + [StepState.WAITING]
    assert run.saga.failure is None


def test_no_stock_releases_what_was_sent_and_closes() -> None:
    run = Run().answer(SHORT, Done(), Done())
    assert run.saga.state is SagaState.COMPENSATED
    assert run.sent == [inventory.reserve, inventory.release, order.close]
    assert run.saga.failure == Failure("INSUFFICIENT_STOCK", "1 of 3 available")


def test_declined_payment_is_voided_and_stock_released_in_reverse() -> None:
    run = Run().answer(Done(), DECLINED, Done(), Done(), Done())
    assert run.saga.state is SagaState.COMPENSATED
    assert run.sent[2:] == [payment.void, inventory.release, order.close]
    assert run.states() == [
        StepState.COMPENSATED,
        StepState.COMPENSATED,
        StepState.WAITING,
        StepState.DONE,
    ]


def test_close_is_told_why() -> None:
    run = Run().answer(Done(), DECLINED, Done(), Done())
    (close,) = run.last
    assert close.action == order.close
    assert close.failure == Failure("PAYMENT_DECLINED", "the card was declined")


def test_refused_pivot_compensates_the_earlier_ones_but_not_itself() -> None:
    run = Run().answer(Done(), Done(), FORBIDDEN, Done(), Done(), Done())
    assert run.saga.state is SagaState.COMPENSATED
    assert run.sent[3:] == [payment.void, inventory.release, order.close]
    assert run.saga.steps["confirm-order"].state is StepState.REFUSED


@pytest.mark.parametrize("done_before", [0, 1, 2], ids=["reserve", "authorize", "confirm"])
def test_unknown_outcome_is_asked_again_with_the_same_request_id(done_before: int) -> None:
    run = Run().answer(*[Done()] * done_before, AWAY, AWAY)
    assert len(set(run.request_ids[done_before:])) == 1
    run.answer(*[Done()] * (3 - done_before))
    assert run.saga.state is SagaState.COMPLETED


def test_request_ids_differ_by_saga_step_and_phase() -> None:
    run = Run().answer(Done(), DECLINED, Done(), Done(), Done())
    other = SagaInstance.start(PLACE_ORDER, "order-2", {}, now=START).due_commands(START)
    ids = [*run.request_ids, other[0].request_id]
    assert len(set(ids)) == 6


def test_out_of_attempts_before_the_pivot_compensates() -> None:
    run = Run().answer(Done(), *[AWAY] * 20)
    assert run.sent.count(payment.authorize) == 20
    assert run.sent[-1] == payment.void
    run.answer(Done(), Done(), Done())
    assert run.saga.state is SagaState.COMPENSATED
    assert run.saga.failure == Failure("DEPENDENCY_UNAVAILABLE", "UNAVAILABLE: no answer")


def test_pivot_whose_outcome_is_unknown_is_never_given_up() -> None:
    run = Run().answer(Done(), Done(), *[AWAY] * 500)
    assert run.saga.state is SagaState.RUNNING
    assert run.answer(Done()).saga.state is SagaState.COMPLETED


def test_compensation_out_of_attempts_needs_an_operator() -> None:
    run = Run().answer(Done(), DECLINED, *[AWAY] * 50)
    assert run.saga.state is SagaState.NEEDS_OPERATOR
    assert run.saga.steps["authorize-payment"].state is StepState.EXHAUSTED
    assert run.last == ()
    assert inventory.release not in run.sent


def test_refused_compensation_needs_an_operator() -> None:
    run = Run().answer(SHORT, FORBIDDEN)
    assert run.saga.state is SagaState.NEEDS_OPERATOR
    assert run.saga.steps["reserve-stock"].state is StepState.REFUSED
    assert order.close not in run.sent


def test_refused_close_needs_an_operator() -> None:
    run = Run().answer(SHORT, Done(), FORBIDDEN)
    assert run.saga.state is SagaState.NEEDS_OPERATOR
    assert run.saga.failure == Failure("INSUFFICIENT_STOCK", "1 of 3 available")


def test_close_is_tried_for_ever() -> None:
    run = Run().answer(SHORT, Done(), *[AWAY] * 500)
    assert run.saga.state is SagaState.COMPENSATING
    assert run.answer(Done()).saga.state is SagaState.COMPENSATED


def test_nothing_is_due_before_the_wait_is_over() -> None:
    saga = SagaInstance.start(PLACE_ORDER, "order-1", {}, now=START)
    (command,) = saga.due_commands(START)
    saga.record(command.step, command.phase, AWAY, now=START, jitter=lambda: 0.5)
    due = START + timedelta(seconds=0.05)
    assert saga.next_due == due
    assert saga.due_commands(due - timedelta(milliseconds=1)) == []
    assert len(saga.due_commands(due)) == 1
    assert saga.next_due is None


def test_command_in_the_air_is_not_due() -> None:
    saga = SagaInstance.start(PLACE_ORDER, "order-1", {}, now=START)
    assert len(saga.due_commands(START)) == 1
    assert saga.due_commands(START) == []
    assert not saga.resting


def test_taken_over_saga_sends_again_what_may_have_been_sent() -> None:
    saga = SagaInstance.start(PLACE_ORDER, "order-1", {}, now=START)
    (first,) = saga.due_commands(START)
    heir = SagaInstance.rehydrate(PLACE_ORDER, saga.snapshot())
    (again,) = heir.due_commands(START)
    assert again == first
    assert heir.steps["reserve-stock"].attempts == 2


def test_late_answer_changes_nothing() -> None:
    run = Run()
    (reserve,) = run.last
    run.answer(SHORT)
    before = run.saga.snapshot()
    run.saga.record(reserve.step, Phase.ACTION, Done(), now=START, jitter=lambda: 0)
    assert run.saga.snapshot() == before


def test_finished_saga_awaits_nothing() -> None:
    run = Run().answer(Done(), Done(), Done())
    assert not run.saga.active
    assert not run.saga.awaits("confirm-order", Phase.ACTION)
    assert run.saga.due_commands(START) == ()
