"""What operators may do to an instance, and what they may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trackops_saga_orchestrator.domain.commands import Phase
from trackops_saga_orchestrator.domain.errors import ForbiddenOperation, StepNotFound
from trackops_saga_orchestrator.domain.fulfil_order import FULFIL_ORDER
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
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steering import SteeredSaga

from .saga_fakes import START, altered

NO = Refused("NO", "no")
AWAY = Unknown("away")


def run(*outcomes: Outcome, definition: Saga = PLACE_ORDER) -> SteeredSaga:
    """An instance to which these outcomes came, one for each command; waits are over at once."""
    saga = SagaInstance.start(definition, "order-1", {"amount_minor": 1}, now=START)
    now = START
    for outcome in outcomes:
        command = saga.due_commands(now)[0]
        saga.record(command.step, command.phase, outcome, now=now, jitter=lambda: 0.5)
        now = saga.next_due or now
    return SteeredSaga(definition, saga.snapshot())


def refused_capture() -> SteeredSaga:
    saga = SagaInstance.start(FULFIL_ORDER, "order-1", {}, now=START)
    saga.due_commands(START)
    saga.record("commit-stock", Phase.ACTION, Done(), now=START, jitter=lambda: 0)
    saga.record("capture-payment", Phase.ACTION, NO, now=START, jitter=lambda: 0)
    return SteeredSaga(FULFIL_ORDER, saga.snapshot())


def test_refused_retriable_step_and_refused_compensation_call_an_operator() -> None:
    assert {one.state for one in (refused_capture(), run(NO, NO))} == {SagaState.NEEDS_OPERATOR}


def sent(saga: SagaInstance) -> list[str]:
    return [str(command.action) for command in saga.due_commands(START)]


def test_paused_saga_sends_nothing_and_goes_on_where_it_stood() -> None:
    saga = run(Done())
    saga.pause()
    assert (saga.state, sent(saga), saga.next_due) == (SagaState.PAUSED, [], None)
    saga.resume(START)
    assert (saga.state, sent(saga)) == (SagaState.RUNNING, ["payment.authorize"])


def test_answer_that_comes_while_paused_is_asked_for_again() -> None:
    saga = run()
    sent(saga)
    saga.pause()
    saga.record("reserve-stock", Phase.ACTION, Done(), now=START, jitter=lambda: 0)
    heir = SteeredSaga(PLACE_ORDER, saga.snapshot())
    heir.resume(START)
    assert sent(heir) == ["inventory.reserve"]


def test_paused_compensation_goes_on_backwards() -> None:
    saga = run(NO)
    saga.pause()
    saga.resume(START)
    assert (saga.state, sent(saga)) == (SagaState.COMPENSATING, ["inventory.release"])


def test_paused_queued_saga_keeps_its_place() -> None:
    earlier = PLACE_ORDER.saga_id("order-1")
    saga = SteeredSaga(
        FULFIL_ORDER,
        altered(
            SagaInstance.start(FULFIL_ORDER, "order-1", {}, now=START).snapshot(),
            state=SagaState.QUEUED,
            waits_for=earlier,
        ),
    )
    saga.pause()
    saga.resume(START)
    assert saga.state is SagaState.QUEUED


def test_retry_gives_a_refused_retriable_step_another_go() -> None:
    saga = refused_capture()
    saga.retry("capture-payment", START)
    assert (saga.state, sent(saga)) == (SagaState.RUNNING, ["payment.capture"])
    saga.record("capture-payment", Phase.ACTION, Done(), now=START, jitter=lambda: 0)
    assert saga.state is SagaState.COMPLETED


def test_retry_gives_an_exhausted_compensation_a_fresh_budget() -> None:
    saga = run(NO, *[AWAY] * 50)
    assert saga.steps["reserve-stock"].state is StepState.EXHAUSTED
    saga.retry("", START)
    assert sent(saga) == ["inventory.release"]
    assert saga.steps["reserve-stock"].attempts == 1


def test_retry_sends_at_once_what_waits() -> None:
    saga = run(AWAY)
    assert sent(saga) == []
    saga.retry("reserve-stock", START)
    assert sent(saga) == ["inventory.reserve"]


def test_retry_of_a_refused_pivot_that_turned_the_saga_back_is_forbidden() -> None:
    saga = run(Done(), Done(), NO)
    with pytest.raises(ForbiddenOperation):
        saga.retry("confirm-order", START)


def test_skip_counts_a_stuck_step_as_done() -> None:
    saga = refused_capture()
    saga.skip("capture-payment", START)
    assert saga.state is SagaState.COMPLETED


def test_skip_counts_a_stuck_compensation_as_undone() -> None:
    saga = run(NO, NO)
    saga.skip("reserve-stock", START)
    assert (saga.state, sent(saga)) == (SagaState.COMPENSATING, ["order.close"])
    saga.record("on-failure", Phase.ACTION, NO, now=START, jitter=lambda: 0)
    saga.skip("on-failure", START)
    assert saga.state is SagaState.COMPENSATED


def test_compensate_undoes_what_may_have_been_sent() -> None:
    saga = run(Done())
    saga.compensate("the customer called", START)
    assert saga.failure is not None
    assert (saga.failure.reason, saga.failure.message) == (
        "COMPENSATED_BY_OPERATOR",
        "the customer called",
    )
    assert sent(saga) == ["payment.void"]


def test_compensate_lifts_a_pause() -> None:
    saga = run(Done())
    saga.pause()
    saga.compensate("why", START)
    assert sent(saga) == ["payment.void"]


FORBIDDEN: list[tuple[str, Callable[[], SteeredSaga], Callable[[SteeredSaga], None]]] = [
    ("pause of what ended", lambda: run(Done(), Done(), Done()), lambda one: one.pause()),
    ("pause of what is stuck", refused_capture, lambda one: one.pause()),
    ("resume of what runs", run, lambda one: one.resume(START)),
    ("retry of what waits for its turn", run, lambda one: one.retry("confirm-order", START)),
    ("retry of what is done", lambda: run(Done()), lambda one: one.retry("reserve-stock", START)),
    ("skip of what may have effect", run, lambda one: one.skip("reserve-stock", START)),
    ("skip of the pivot", run, lambda one: one.skip("confirm-order", START)),
    ("skip of what is done", lambda: run(Done()), lambda one: one.skip("reserve-stock", START)),
    (
        "skip in what ended",
        lambda: run(Done(), Done(), Done()),
        lambda one: one.skip("on-failure", START),
    ),
    ("compensate twice", lambda: run(NO), lambda one: one.compensate("x", START)),
    (
        "compensate while the pivot may have effect",
        lambda: run(Done(), Done()),
        lambda one: one.compensate("x", START),
    ),
    ("compensate what has no way back", refused_capture, lambda one: one.compensate("x", START)),
]


@pytest.mark.parametrize(
    ("make", "operate"), [one[1:] for one in FORBIDDEN], ids=[one[0] for one in FORBIDDEN]
)
def test_operation_that_makes_no_sense_is_refused_and_changes_nothing(
    make: Callable[[], SteeredSaga], operate: Callable[[SteeredSaga], None]
) -> None:
    saga = make()
    before = saga.snapshot()
    with pytest.raises(ForbiddenOperation):
        operate(saga)
    assert saga.snapshot() == before


def test_unknown_step_is_named() -> None:
    with pytest.raises(StepNotFound, match="'fly'"):
        run().retry("fly", START)
