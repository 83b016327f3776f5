"""A table that could not be brought to an end is refused, by rule and step."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from trackops_saga_orchestrator.domain.rules import BadDefinition
from trackops_saga_orchestrator.domain.saga import Definitions, DuplicateDefinition, Saga
from trackops_saga_orchestrator.domain.steps import (
    PIVOT,
    RETRIABLE,
    Action,
    Condition,
    RetryPolicy,
    Step,
    WaitFor,
)

DO = Action("somebody", "do")
UNDO = Action("somebody", "undo")
ODD = Condition("odd", lambda _: True)
ONLY_WAIT = WaitFor("e", timeout_seconds=1)
OR_ELSE = WaitFor("e", timeout_seconds=1, otherwise=DO)


def undoable(name: str, *after: str) -> Step:
    return Step(name, DO, compensate=UNDO, after=after)


def pivot(name: str, *after: str) -> Step:
    return Step(name, DO, kind=PIVOT, after=after)


def retriable(name: str, *after: str) -> Step:
    return Step(name, DO, kind=RETRIABLE, after=after)


BROKEN: Sequence[tuple[str, Sequence[Step], str, str]] = [
    ("no steps", [], "", "at least one step"),
    ("a name twice", [undoable("a"), undoable("a")], "a", "unique"),
    ("an odd name", [undoable("A b")], "A b", "lower-case"),
    ("a name that is taken", [undoable("on-failure")], "on-failure", "kept for"),
    ("no compensation", [Step("a", DO)], "a", "has a compensation"),
    ("a pivot undone", [Step("a", DO, kind=PIVOT, compensate=UNDO)], "a", "no compensation"),
    ("a retriable undone", [Step("a", DO, kind=RETRIABLE, compensate=UNDO)], "a", "no comp"),
    (
        "a retriable with a budget",
        [Step("a", DO, kind=RETRIABLE, retry=RetryPolicy(attempts=3))],
        "a",
        "for ever",
    ),
    ("no time", [Step("a", DO, compensate=UNDO, deadline_seconds=0)], "a", "positive"),
    ("a delay backwards", [Step("a", DO, compensate=UNDO, delay_seconds=-1)], "a", "negative"),
    ("a pivot if", [Step("a", DO, kind=PIVOT, when=ODD)], "a", "no condition"),
    (
        "a wait without end",
        [Step("a", WaitFor("e", timeout_seconds=0))],
        "a",
        "timeout is positive",
    ),
    ("a wait undone", [Step("a", ONLY_WAIT, compensate=UNDO)], "a", "only waits"),
    ("a fail-over not undone", [Step("a", OR_ELSE)], "a", "has a compensation"),
    ("a wait for ever", [Step("a", ONLY_WAIT, kind=RETRIABLE)], "a", "at its timeout"),
    ("two pivots", [pivot("a"), pivot("b", "a")], "b", "at most one pivot"),
    ("an unknown predecessor", [undoable("a", "b")], "a", "'b'"),
    ("a cycle", [undoable("a", "b"), undoable("b", "a")], "a", "after itself"),
    ("a step after itself", [undoable("a", "a")], "a", "after itself"),
    ("undoable after pivot", [pivot("p"), undoable("a", "p")], "a", "before the pivot"),
    ("undoable beside pivot", [pivot("p"), undoable("a")], "a", "before the pivot"),
    ("retriable before pivot", [retriable("r"), pivot("p", "r")], "r", "after the pivot"),
    ("retriable beside pivot", [retriable("r"), pivot("p")], "r", "after the pivot"),
    ("undoable after retriable", [retriable("r"), undoable("a", "r")], "a", "before the retri"),
]


@pytest.mark.parametrize(
    ("steps", "step", "rule"),
    [broken[1:] for broken in BROKEN],
    ids=[broken[0] for broken in BROKEN],
)
def test_broken_rule_is_named(steps: Sequence[Step], step: str, rule: str) -> None:
    with pytest.raises(BadDefinition) as raised:
        Saga("broken", version=1, steps=steps)
    assert raised.value.step in (step, *(one.name for one in steps if "itself" in rule))
    assert rule in raised.value.rule
    assert "'broken'" in str(raised.value)


def test_whole_shape_is_allowed() -> None:
    steps = [
        undoable("a"),
        undoable("b"),
        undoable("c", "a", "b"),
        pivot("p", "c"),
        retriable("r", "p"),
        retriable("s", "p"),
    ]
    saga = Saga("whole", version=1, steps=steps, on_failure=DO)
    assert list(saga.all_steps) == ["a", "b", "c", "p", "r", "s", "on-failure"]


def test_hash_sees_what_an_instance_depends_on() -> None:
    def saga(*steps: Step, name: str = "s", version: int = 1, end: Action | None = None) -> str:
        return Saga(name, version=version, steps=steps, on_failure=end).hash

    base = saga(undoable("a"), undoable("b", "a"))
    different = {
        saga(undoable("a"), undoable("b")),
        saga(undoable("a"), undoable("c", "a")),
        saga(undoable("a"), pivot("b", "a")),
        saga(undoable("a"), Step("b", UNDO, compensate=UNDO, after=["a"])),
        saga(undoable("a"), Step("b", DO, compensate=DO, after=["a"])),
        saga(undoable("a"), undoable("b", "a"), name="t"),
        saga(undoable("a"), undoable("b", "a"), version=2),
        saga(undoable("a"), Step("b", DO, compensate=UNDO, after=["a"], when=ODD)),
        saga(undoable("a"), Step("b", OR_ELSE, compensate=UNDO, after=["a"])),
        saga(undoable("a"), Step("b", ONLY_WAIT, after=["a"])),
        saga(undoable("a"), undoable("b", "a"), end=DO),
    }
    assert base not in different
    assert len(different) == 11


def test_hash_does_not_see_tuning() -> None:
    tuned = Step("a", DO, compensate=UNDO, deadline_seconds=1, retry=RetryPolicy(attempts=1))
    assert (
        Saga("s", version=1, steps=[tuned]).hash == Saga("s", version=1, steps=[undoable("a")]).hash
    )


def test_hash_is_stable() -> None:
    assert Saga("s", version=1, steps=[undoable("a")]).hash == "c7a6d99601678162"


def test_same_name_and_version_twice_is_refused() -> None:
    one = Saga("s", version=1, steps=[undoable("a")])
    other = Saga("s", version=1, steps=[undoable("b")])
    with pytest.raises(DuplicateDefinition):
        Definitions([one, other])


def test_saga_id_is_one_per_definition_and_subject() -> None:
    one, other = (Saga(name, version=1, steps=[undoable("a")]) for name in ("one", "other"))
    assert one.saga_id("x") == Saga("one", version=2, steps=[undoable("b")]).saga_id("x")
    assert len({one.saga_id("x"), one.saga_id("y"), other.saga_id("x")}) == 3


@pytest.mark.parametrize("attempts", [0, -1])
def test_no_budget_is_refused(attempts: int) -> None:
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(attempts=attempts)


def test_back_off_doubles_up_to_its_cap_and_jitters_over_the_full_range() -> None:
    policy = RetryPolicy(first_wait_seconds=1, longest_wait_seconds=5)
    assert [policy.wait_seconds(n, 1.0) for n in (1, 2, 3, 4, 10_000)] == [1, 2, 4, 5, 5]
    assert policy.wait_seconds(3, 0.25) == 1
    assert policy.wait_seconds(3, 0) == 0
