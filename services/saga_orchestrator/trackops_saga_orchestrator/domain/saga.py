"""A saga as a table of steps."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from graphlib import TopologicalSorter

from trackops_saga_orchestrator.domain.rules import ON_FAILURE, ancestors, check
from trackops_saga_orchestrator.domain.steps import COMPENSATABLE, RETRIABLE, Action, Step, WaitFor

__all__ = ["Definitions", "DuplicateDefinition", "Saga"]

_NAMESPACE = uuid.UUID("4c1e2c53-30ad-5f0c-8a35-0f4f5b7d9a21")


@dataclass(frozen=True)
class Saga:
    """A definition, checked when it is made.

    Raises:
        BadDefinition: the table breaks a rule (see `domain.rules`).
    """

    name: str
    _: KW_ONLY
    version: int
    steps: Sequence[Step]
    opens: bool = False
    """Nothing about its subject can be before it, so it never has to wait for its turn."""
    on_failure: Action | None = None
    """Tried for ever once everything is compensated; it is told why the saga failed."""

    def __post_init__(self) -> None:
        check(self.name, self.steps)

    def saga_id(self, subject: str, occurrence: str = "") -> uuid.UUID:
        """One saga per definition, subject and occurrence, however often it is started."""
        name = f"{self.name}\n{subject}"
        return uuid.uuid5(_NAMESPACE, f"{name}\n{occurrence}" if occurrence else name)

    @cached_property
    def failure_step(self) -> Step | None:
        """`on_failure` as a step."""
        if self.on_failure is None:
            return None
        return Step(ON_FAILURE, self.on_failure, kind=RETRIABLE)

    @cached_property
    def all_steps(self) -> Mapping[str, Step]:
        """By name, in the order of the table, `on_failure` last."""
        steps = [*self.steps, *([self.failure_step] if self.failure_step else [])]
        return {step.name: step for step in steps}

    @cached_property
    def in_order(self) -> Sequence[str]:
        """The steps' names, each after all that it comes after."""
        return tuple(TopologicalSorter({one.name: one.after for one in self.steps}).static_order())

    @cached_property
    def undoable(self) -> Sequence[str]:
        """The compensatable steps' names, in order."""
        return tuple(name for name in self.in_order if self.all_steps[name].kind is COMPENSATABLE)

    @cached_property
    def followers(self) -> Mapping[str, Sequence[str]]:
        """For each step, all that come after it, directly or not."""
        before = ancestors(self.steps)
        return {
            step.name: tuple(other.name for other in self.steps if step.name in before[other.name])
            for step in self.steps
        }

    @cached_property
    def actions(self) -> frozenset[Action]:
        """Everything that participants must be able to do for it."""
        steps = self.all_steps.values()
        do = (step.does for step in steps if step.does)
        undo = (step.compensate for step in steps if step.compensate)
        return frozenset([*do, *undo])

    @cached_property
    def awaited(self) -> frozenset[str]:
        """The events that its steps wait for."""
        actions = [step.action for step in self.steps]
        return frozenset(one.event for one in actions if isinstance(one, WaitFor))

    @cached_property
    def hash(self) -> str:
        """16 hex digits that differ when an instance of one could not go on as the other.

        Deadlines and retries are left out: they may be tuned under running instances.
        """
        table = [_row(step) for step in self.steps]
        canonical = json.dumps([self.name, self.version, table, str(self.on_failure or "")])
        return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def _row(step: Step) -> list[object]:
    """What an instance depends on; what a step does not have leaves no trace in older hashes."""
    row: list[object] = [
        step.name,
        str(step.action),
        str(step.compensate or ""),
        step.kind.value,
        sorted(step.after),
    ]
    return [*row, {"when": step.when.name}] if step.when else row


class DuplicateDefinition(Exception):
    """Two definitions have the same name and version."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(f"saga {name!r} has two definitions of version {version}")


class Definitions:
    """The definitions that this process can run, found by their hash.

    Raises:
        DuplicateDefinition: a name and version come twice.
    """

    def __init__(self, definitions: Iterable[Saga]) -> None:
        self._by_hash: dict[str, Saga] = {}
        seen: set[tuple[str, int]] = set()
        for saga in definitions:
            if (saga.name, saga.version) in seen:
                raise DuplicateDefinition(saga.name, saga.version)
            seen.add((saga.name, saga.version))
            self._by_hash[saga.hash] = saga
        self._awaiting = {
            event: [saga.hash for saga in self if event in saga.awaited]
            for event in {event for saga in self for event in saga.awaited}
        }

    def __iter__(self) -> Iterator[Saga]:
        return iter(self._by_hash.values())

    def __getitem__(self, definition_hash: str) -> Saga:
        return self._by_hash[definition_hash]

    def named(self, name: str) -> Saga | None:
        """The newest version of a definition."""
        found = [saga for saga in self if saga.name == name]
        return max(found, key=lambda saga: saga.version, default=None)

    def awaiting(self, event: str) -> Sequence[str]:
        """The hashes of those that wait for an event."""
        return self._awaiting.get(event, ())

    @property
    def hashes(self) -> Sequence[str]:
        return tuple(self._by_hash)

    @property
    def actions(self) -> frozenset[Action]:
        """Everything that participants must be able to do."""
        return frozenset[Action]().union(*(saga.actions for saga in self))
