"""Every state that a model can reach, breadth first, and what is wrong with one of them.

A model is a start, the steps that lead on from a state, and what must hold.
Breadth first, so the way to the first broken state is a shortest one.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, NamedTuple, Protocol, TypeVar

__all__ = ["ENDS_WELL", "Broken", "Explored", "Model", "Step", "TooManyStates", "explore"]

S = TypeVar("S")

ENDS_WELL = "without further faults, everything is done in the end"
"""The liveness that `explore` checks by itself."""


class Step(NamedTuple, Generic[S]):
    """One move of one process, or one fault."""

    name: str
    who: str
    fault: bool
    state: S
    """After it."""


class Model(Protocol[S]):
    """Something to explore."""

    @property
    def start(self) -> S: ...

    def steps(self, state: S) -> Iterable[Step[S]]:
        """All that can happen next."""
        ...

    def broken(self, state: S) -> str | None:
        """The invariant that does not hold in the state."""
        ...

    def done(self, state: S) -> bool:
        """Whether all that was asked for has been done, and nothing is left to do."""
        ...

    def show(self, state: S) -> Mapping[str, str]:
        """The parts of the state, for people."""
        ...


@dataclass(frozen=True, slots=True)
class Broken:
    """An invariant that does not hold, and a shortest way there."""

    invariant: str
    trace: str


@dataclass(frozen=True, slots=True)
class Explored:
    """What there was to see."""

    states: int
    steps: int
    depth: int
    """Of the state that is farthest from the start."""
    done: int
    """States in which everything is done."""
    cpu_seconds: float
    taken: frozenset[str]
    """Names of the steps that were possible somewhere."""
    broken: Broken | None


class TooManyStates(Exception):
    """The bounds make the space larger than the caller can wait for."""


class _Graph(Generic[S]):
    """States by number, and how they are connected."""

    def __init__(self, start: S) -> None:
        self.states = [start]
        self.numbers = {start: 0}
        self.parents = array("l", [-1])
        self.depths = array("l", [0])
        self.forward = array("l")
        """Pairs of numbers: the steps that are no faults."""

    def number(self, state: S, parent: int) -> int:
        found = self.numbers.setdefault(state, len(self.states))
        if found == len(self.states):
            self.states.append(state)
            self.parents.append(parent)
            self.depths.append(self.depths[parent] + 1)
        return found


def explore(model: Model[S], *, most_states: int = 10_000_000) -> Explored:
    """Visit every state; stops at the first one in which an invariant does not hold.

    A state from which nothing goes on but by faults must be done; and from
    every state one that is done must be within reach without faults.

    Raises:
        TooManyStates: there are more than `most_states`.
    """
    began = time.process_time()
    graph = _Graph(model.start)
    done: list[int] = []
    taken: set[str] = set()
    steps = 0
    broken: Broken | None = None
    for number, state in enumerate(graph.states):  # which grow meanwhile
        if invariant := model.broken(state):
            broken = Broken(invariant, _trace(model, graph, number))
            break
        if model.done(state):
            done.append(number)
        for step in model.steps(state):
            steps += 1
            taken.add(step.name)
            to = graph.number(step.state, number)
            if not step.fault:
                graph.forward.extend((number, to))
        if len(graph.states) > most_states:
            raise TooManyStates(f"more than {most_states:,}")
    if broken is None and (lost := _cannot_end(graph, done)) is not None:
        broken = Broken(ENDS_WELL, _trace(model, graph, lost))
    return Explored(
        states=len(graph.states),
        steps=steps,
        depth=max(graph.depths),
        done=len(done),
        cpu_seconds=time.process_time() - began,
        taken=frozenset(taken),
        broken=broken,
    )


def _cannot_end(graph: _Graph[S], done: Sequence[int]) -> int | None:
    """The first state from which no fault-free run leads to one that is done."""
    before: dict[int, list[int]] = {}
    for index in range(0, len(graph.forward), 2):
        before.setdefault(graph.forward[index + 1], []).append(graph.forward[index])
    fine = bytearray(len(graph.states))
    waiting = list(done)
    while waiting:
        number = waiting.pop()
        if not fine[number]:
            fine[number] = True
            waiting.extend(before.get(number, ()))
    lost = fine.find(0)
    return None if lost < 0 else lost


def _trace(model: Model[S], graph: _Graph[S], number: int) -> str:
    path = [number]
    while graph.parents[path[-1]] >= 0:
        path.append(graph.parents[path[-1]])
    states = [graph.states[one] for one in reversed(path)]
    lines = [f"  0. start  {_parts(model.show(states[0]))}"]
    for place, (frm, to) in enumerate(pairwise(states), start=1):
        step = next(step for step in model.steps(frm) if step.state == to)
        what = f"{step.who}: {step.name}" + (" (fault)" if step.fault else "")
        lines += [f" {place:2}. {what}", f"       {_changed(model.show, frm, to)}"]
    return "\n".join(lines)


def _changed(show: Callable[[S], Mapping[str, str]], frm: S, to: S) -> str:
    before = show(frm)
    return _parts({name: text for name, text in show(to).items() if before[name] != text})


def _parts(shown: Mapping[str, str]) -> str:
    return "  ".join(f"{name}={text}" for name, text in shown.items())
