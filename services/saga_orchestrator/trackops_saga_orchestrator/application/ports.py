"""What the use cases need of the world."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from trackops_saga_orchestrator.domain.commands import StepCommand
from trackops_saga_orchestrator.domain.progress import Attempt, Outcome, SagaSnapshot, SagaState
from trackops_saga_orchestrator.domain.steps import Action

__all__ = [
    "AuditEntry",
    "BatchAction",
    "ClaimedSaga",
    "Lease",
    "LiveDefinition",
    "NewSagas",
    "PagePosition",
    "Participants",
    "QueueState",
    "SagaFilter",
    "SagaReader",
    "SagaStore",
    "SagaView",
    "SagaWrite",
]

BatchAction = Callable[[Sequence[StepCommand]], Awaitable[Sequence[Outcome]]]
"""Has commands done: as many outcomes as commands, in their order.

A participant that is away, slow or confused is an `Unknown` for each command,
never an exception.
"""

Participants = Mapping[Action, BatchAction]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to move a saga, for as long as its row has this epoch."""

    saga_id: uuid.UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class ClaimedSaga:
    """A saga that is now leased to us."""

    snapshot: SagaSnapshot
    epoch: int
    events: Collection[str] = ()
    """Those about its subject that have come so far and that any saga waits for."""


@dataclass(frozen=True, slots=True)
class SagaWrite:
    """An instance's new state."""

    snapshot: SagaSnapshot
    epoch: int
    wake_in_seconds: float | None
    """Nobody picks the saga up before; None leaves that time as it is.

    A saga whose `awaits` have come is due at once all the same.
    """


@dataclass(frozen=True, slots=True)
class LiveDefinition:
    """A definition that unfinished instances are pinned to."""

    name: str
    version: int
    hash: str
    instances: int

    def __str__(self) -> str:
        return f"{self.name} v{self.version} ({self.hash}): {self.instances} unfinished"


@dataclass(frozen=True, slots=True)
class QueueState:
    """What new sagas have to know of those that are there."""

    existing: Collection[uuid.UUID]
    last: Mapping[str, uuid.UUID]
    """By subject, the saga that ends last; subjects without an unfinished one are left out."""


class NewSagas(Protocol):
    """Puts sagas into the store, within the caller's transaction."""

    def insert(
        self, snapshots: Sequence[SagaSnapshot], *, lease_seconds: float
    ) -> Collection[uuid.UUID]:
        """Insert those that are not there yet, leased with epoch 1; the ids of those."""
        ...

    def queue(self, saga_ids: Sequence[uuid.UUID], subjects: Sequence[str]) -> QueueState:
        """What is known of these ids and subjects.

        It stays so until the transaction ends: until then no saga ends, and
        no other transaction that calls this goes on.
        """
        ...

    def note_events(self, events: Sequence[tuple[str, str]], hashes: Collection[str]) -> None:
        """Remember events, each a subject and a name, and have the sagas look that wait for them.

        `hashes` are those of the definitions that wait for any of them.
        """
        ...


class SagaStore(Protocol):
    """The sagas' rows, as the engine uses them. Blocking; times are the store's own clock's.

    Every method may raise `TransientError`, and can then be called again.
    """

    def claim(
        self, hashes: Collection[str], *, limit: int, lease_seconds: float
    ) -> Sequence[ClaimedSaga]:
        """Lease active sagas of these definitions whose time has come, the most overdue first."""
        ...

    def write(self, writes: Sequence[SagaWrite]) -> Collection[uuid.UUID]:
        """Store all in one transaction, except those whose epoch has changed; the ids stored.

        Sagas that waited for one that ends by it become RUNNING and are due at
        once; their ids are among the answer.
        """
        ...

    def forget_events(self, *, older_than_days: int, limit: int) -> int:
        """Remove noted events, `limit` at most, whose subjects have no unfinished saga; how many.

        The oldest go first.
        """
        ...

    def renew(self, leases: Sequence[Lease], *, seconds: float) -> Collection[uuid.UUID]:
        """Let leases end so many seconds from now; the ids of those that were still ours."""
        ...

    def unpark(self, participant: str, *, limit: int) -> int:
        """Make sagas due that are parked on a participant; how many, `limit` at most."""
        ...

    def live_definitions(self) -> Sequence[LiveDefinition]:
        """The definitions of all unfinished sagas, those that need an operator included."""
        ...


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to a saga, when and why."""

    saga_id: uuid.UUID
    operation: str
    step: str
    reason: str
    principal: str
    state_before: SagaState
    state_after: SagaState
    create_time: datetime


@dataclass(frozen=True, slots=True)
class SagaView:
    """A saga as operators see it."""

    snapshot: SagaSnapshot
    create_time: datetime
    update_time: datetime
    audit: Sequence[AuditEntry] = ()
    """What operators did to it, oldest first; left out of listings."""
    attempts: Mapping[str, Sequence[Attempt]] | None = None
    """Those that are over, by step, oldest first; None: not read."""


@dataclass(frozen=True, slots=True)
class PagePosition:
    """The last saga of a page."""

    create_time: datetime
    saga_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class SagaFilter:
    """Which sagas to show; empty: all."""

    subject: str = ""
    states: Collection[SagaState] = ()


class SagaReader(Protocol):
    """The sagas' rows, as operators look at them. Blocking."""

    def find(self, saga_id: uuid.UUID) -> SagaView | None:
        """The saga with its attempts, the newest 10,000 of them; or None."""
        ...

    def page(
        self, wanted: SagaFilter, *, size: int, after: PagePosition | None
    ) -> Sequence[SagaView]:
        """The next `size` sagas, newest first."""
        ...
