"""Every attempt of a step is accounted for, whatever came of it."""

from __future__ import annotations

from datetime import timedelta

from trackops_saga_orchestrator.adapters.encoding import decode_steps
from trackops_saga_orchestrator.domain.commands import Phase
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import Attempt, Done, Refused, StepState, Unknown
from trackops_saga_orchestrator.domain.steering import SteeredSaga

from .saga_fakes import START

RESERVE = "reserve-stock"


def started() -> SagaInstance:
    """An instance whose first command is on its way since `START`."""
    saga = SagaInstance.start(PLACE_ORDER, "order-1", {"amount_minor": 1}, now=START)
    saga.due_commands(START)
    return saga


def log(saga: SagaInstance, step: str = RESERVE) -> list[tuple[int, bool, str]]:
    """Number, whether of the compensation, and error of each attempt."""
    progress = saga.steps[step]
    last = [progress.last_attempt] if progress.last_attempt else []
    return [(one.number, one.compensation, one.error) for one in (*progress.over, *last)]


def answer(saga: SagaInstance, outcome: Done | Refused | Unknown, step: str = RESERVE) -> None:
    undoing = saga.steps[step].state is StepState.COMPENSATING
    phase = Phase.COMPENSATION if undoing else Phase.ACTION
    saga.record(step, phase, outcome, now=START, jitter=lambda: 0.5)


def test_attempt_on_its_way_has_no_end() -> None:
    saga = started()
    assert saga.steps[RESERVE].last_attempt == Attempt(False, 1, START, None)


def test_each_of_many_attempts_is_noted() -> None:
    saga = started()
    for _ in range(30):
        answer(saga, Unknown("away"))
        if saga.next_due is None:
            break
        saga.due_commands(saga.next_due)
    action = [one for one in log(saga) if not one[1]]
    assert action == [(number + 1, False, "away") for number in range(len(action))]
    assert len(action) == saga.definition.all_steps[RESERVE].retry_policy.attempts


def test_attempt_whose_sender_died_is_noted_when_the_next_is_sent() -> None:
    heir = SagaInstance.rehydrate(PLACE_ORDER, started().snapshot())
    heir.due_commands(START + timedelta(seconds=9))
    (first, *_), (second, *_) = log(heir)
    assert (first, second) == (1, 2)
    (lost,) = heir.steps[RESERVE].over
    assert lost.ended == START + timedelta(seconds=9)
    assert "no answer was heard" in lost.error


def test_success_that_is_undone_later_stays_in_the_log() -> None:
    saga = started()
    answer(saga, Done())
    saga.due_commands(START)
    answer(saga, Refused("PAYMENT_DECLINED", "declined"), "authorize-payment")
    saga.due_commands(START)
    answer(saga, Done(), "authorize-payment")
    saga.due_commands(START)
    assert log(saga) == [(1, False, ""), (1, True, "")]
    assert log(saga, "authorize-payment") == [(1, False, "declined"), (1, True, "")]


def test_answer_that_nobody_waits_for_any_more_is_noted_as_such() -> None:
    saga = SteeredSaga(PLACE_ORDER, started().snapshot())
    saga.compensate("because", START)
    ((number, compensation, error),) = log(saga)
    assert (number, compensation) == (1, False)
    assert "turned back" in error


def test_failures_that_stand_in_a_row_of_old_are_not_lost() -> None:
    failure = [True, 3, 1_000, 2_000, "away", 3_000]
    row = ["reserve-stock", "-", 3, 2_000, "away", 3_000, None, False, [failure]]
    (step,) = decode_steps([row], [])
    (attempt,) = step.over
    assert (attempt.compensation, attempt.number, attempt.error) == (True, 3, "away")
    assert step.sent is None
