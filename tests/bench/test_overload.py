"""What `make overload` concludes from the fates of its calls."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.offered import Step, plan_of
from bench.overload import Call, Outcome, judged

PLAN = (Step(50, 2), Step(500, 4), Step(50, 3))
END_OF_OVERLOAD = 6.0


def accepted(due: float, order_id: str = "", seconds: float = 0.01) -> Call:
    return Call(due, seconds, "OK", None, order_id or f"order at {due}")


def refused(due: float, seconds: float = 0.001, retry: float | None = 0.5) -> Call:
    return Call(due, seconds, "RESOURCE_EXHAUSTED", retry, "")


def unanswered(due: float) -> Call:
    return Call(due, 2.0, "DEADLINE_EXCEEDED", None, "")


def calm(begin: float, seconds: float) -> list[Call]:
    return [accepted(round(begin + number / 50, 2)) for number in range(int(50 * seconds))]


def outcome(overload: Sequence[Call], after: Sequence[Call] = ()) -> Outcome:
    """Of a mesh that takes 100 orders a second and keeps what it accepts."""
    calls = [*calm(0, 2), *overload, *(after or calm(END_OF_OVERLOAD, 3))]
    return Outcome(100, PLAN, calls, [call.order_id for call in calls if call.status == "OK"])


def kept_promise() -> list[Call]:
    """90 orders a second of 500."""
    overload = [2 + number / 500 for number in range(2000)]
    return [accepted(due) if n % 50 < 9 else refused(due) for n, due in enumerate(overload)]


def broken(found: Outcome) -> list[str]:
    return [check.what for check in judged(found) if check.kept is False]


def test_a_kept_promise() -> None:
    found = outcome(kept_promise())

    assert broken(found) == []
    assert (found.goodput, found.recovery_seconds) == (90, 0)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (refused(3.0, retry=None), "refusals without RetryInfo"),
        (unanswered(3.0), "calls by status"),
        (Call(3.0, 0.1, "UNAVAILABLE", None, ""), "calls by status"),
    ],
)
def test_one_call_that_ends_otherwise_breaks_it(more: Call, what: str) -> None:
    assert broken(outcome([*kept_promise(), more])) == [what]


def test_slow_refusals_break_it() -> None:
    slow = [refused(3.0, seconds=0.06)] * 30

    assert broken(outcome([*kept_promise(), *slow])) == ["refusals: median, p99"]


def test_goodput_is_what_was_accepted_of_the_maximum() -> None:
    few = [call for number, call in enumerate(kept_promise()) if number % 50 > 1]

    assert broken(outcome(few)) == ["goodput, of the maximum"]


def test_an_acknowledged_order_without_a_row_is_lost() -> None:
    whole = outcome(kept_promise())
    found = Outcome(whole.maximum, PLAN, whole.calls, whole.rows[1:])

    assert (found.lost, broken(found)) == (1, ["lost"])


def test_a_row_is_doubled_where_no_call_can_have_made_it() -> None:
    whole = outcome(kept_promise())
    more = Outcome(whole.maximum, PLAN, whole.calls, [*whole.rows, "of nobody"])
    known = outcome([*kept_promise(), unanswered(3.0)])
    made_unanswered = Outcome(known.maximum, PLAN, known.calls, [*known.rows, "of the unanswered"])

    assert (more.doubled, broken(more)) == (1, ["doubled"])
    assert made_unanswered.doubled == 0


def test_two_answers_that_share_an_order_are_one_too_many() -> None:
    twice = [accepted(3.0, "shared"), accepted(3.1, "shared")]

    assert outcome([*kept_promise(), *twice]).doubled == 1


@pytest.mark.parametrize("bad", [refused(7.2), unanswered(7.2)])
def test_recovery_lasts_until_the_last_half_second_with_a_failure(bad: Call) -> None:
    found = outcome(kept_promise(), [*calm(END_OF_OVERLOAD, 3), bad])

    assert found.recovery_seconds == 1.5


def test_recovery_lasts_until_calls_are_as_quick_as_before() -> None:
    slow = [accepted(call.due, seconds=0.03) for call in calm(END_OF_OVERLOAD, 0.9)]
    found = outcome(kept_promise(), [*slow, *calm(END_OF_OVERLOAD + 0.9, 2.1)])

    assert found.recovery_seconds == 1.0


def test_a_plan_as_it_is_written() -> None:
    assert plan_of("50x2,500x4.5") == [Step(50, 2), Step(500, 4.5)]
    assert plan_of("500x4.5")[0].calls == 2250
