"""What a table of steps must keep to, so that every instance of it can end.

Going back is possible as long as every step that was sent can be undone. So
whatever cannot be undone comes after everything that may have to be.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from trackops_saga_orchestrator.domain.steps import (
    COMPENSATABLE,
    PIVOT,
    RETRIABLE,
    Step,
    WaitFor,
)

__all__ = ["ON_FAILURE", "BadDefinition", "ancestors", "check"]

ON_FAILURE = "on-failure"
"""Name under which a saga's `on_failure` shows among its steps."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


class BadDefinition(Exception):
    """A saga's table breaks a rule."""

    def __init__(self, saga: str, step: str, rule: str) -> None:
        super().__init__(f"saga {saga!r}, step {step!r}: {rule}")
        self.saga = saga
        self.step = step
        self.rule = rule


def check(saga: str, steps: Sequence[Step]) -> None:
    """Raise `BadDefinition`, naming the first rule that is broken and the step that breaks it."""
    for step, rule in _broken_rules(steps):
        raise BadDefinition(saga, step, rule)


def _broken_rules(steps: Sequence[Step]) -> Iterator[tuple[str, str]]:
    """Lazily, since the later rules rely on the earlier ones."""
    if not steps:
        yield "", "a saga has at least one step"
    yield from _names(steps)
    yield from _kinds(steps)
    yield from _waits(steps)
    yield from _known_predecessors(steps)
    yield from _cycles(steps)
    yield from _point_of_no_return(steps)


def _names(steps: Sequence[Step]) -> Iterator[tuple[str, str]]:
    for name, count in Counter(step.name for step in steps).items():
        if count > 1:
            yield name, "names of steps are unique"
        if not _NAME.fullmatch(name):
            yield name, "a name has lower-case letters, digits and hyphens"
        if name == ON_FAILURE:
            yield name, "the name is kept for what runs on failure"


def _kinds(steps: Sequence[Step]) -> Iterator[tuple[str, str]]:
    for step in steps:
        if step.kind is COMPENSATABLE and step.compensate is None and step.does is not None:
            yield step.name, "a compensatable step has a compensation"
        if step.kind is not COMPENSATABLE and step.compensate is not None:
            yield step.name, f"a {step.kind.value} step has no compensation"
        if step.kind is RETRIABLE and step.retry_policy.attempts is not None:
            yield step.name, "a retriable step is tried for ever"
        if step.kind is PIVOT and step.when is not None:
            yield step.name, "a pivot has no condition"
    for step in [step for step in steps if step.kind is PIVOT][1:]:
        yield step.name, "a saga has at most one pivot"


def _waits(steps: Sequence[Step]) -> Iterator[tuple[str, str]]:
    for step in steps:
        if step.does is None and step.compensate is not None:
            yield step.name, "a wait that only waits has no compensation"
        if step.does is None and step.kind is not COMPENSATABLE:
            yield step.name, f"a wait that is {step.kind.value} does something at its timeout"
        if isinstance(step.action, WaitFor) and step.action.timeout_seconds <= 0:
            yield step.name, "a timeout is positive"
        if step.deadline_seconds <= 0:
            yield step.name, "a deadline is positive"
        if step.delay_seconds < 0:
            yield step.name, "a delay is not negative"


def _known_predecessors(steps: Sequence[Step]) -> Iterator[tuple[str, str]]:
    known = {step.name for step in steps}
    for step in steps:
        for name in step.after:
            if name not in known:
                yield step.name, f"comes after {name!r}, which is no step"


def _cycles(steps: Sequence[Step]) -> Iterator[tuple[str, str]]:
    try:
        TopologicalSorter({step.name: step.after for step in steps}).prepare()
    except CycleError as error:
        cycle = " -> ".join(error.args[1])
        yield error.args[1][0], f"comes after itself: {cycle}"


def _point_of_no_return(steps: Sequence[Step]) -> Iterator[tuple[str, str]]:
    before = ancestors(steps)
    pivot = next((step.name for step in steps if step.kind is PIVOT), None)
    undoable = [step.name for step in steps if step.kind is COMPENSATABLE]
    for step in steps:
        if step.kind is COMPENSATABLE:
            continue
        for name in undoable:
            if name not in before[step.name]:
                kind = step.kind.value
                yield name, f"a compensatable step comes before the {kind} step {step.name!r}"
        if pivot and step.kind is RETRIABLE and pivot not in before[step.name]:
            yield step.name, f"a retriable step comes after the pivot {pivot!r}"


def ancestors(steps: Sequence[Step]) -> Mapping[str, set[str]]:
    """For each step, all that come before it; the steps keep the rules."""
    direct = {step.name: set(step.after) for step in steps}
    all_before: dict[str, set[str]] = {}
    for name in TopologicalSorter(direct).static_order():
        all_before[name] = direct[name].union(*(all_before[before] for before in direct[name]))
    return all_before
