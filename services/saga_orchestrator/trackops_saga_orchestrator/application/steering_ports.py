"""What steering sagas needs of the world."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from trackops_common.idempotency import RequestStore
from trackops_saga_orchestrator.application.ports import AuditEntry, NewSagas, SagaView
from trackops_saga_orchestrator.domain.progress import SagaSnapshot, SagaState

__all__ = [
    "EncodeSaga",
    "LockedSaga",
    "SagaSelection",
    "SagaWork",
    "SagaWorkFactory",
]


@dataclass(frozen=True, slots=True)
class LockedSaga:
    """A saga that nobody else writes until the transaction ends."""

    view: SagaView
    epoch: int


@dataclass(frozen=True, slots=True)
class SagaSelection:
    """Which sagas an operator means; a text that is empty selects nothing out."""

    states: Collection[SagaState]
    definition: str = ""
    failure_reason: str = ""
    older_than_seconds: float = 0
    """Since their last change, by the store's clock."""


class SagaWork(Protocol):
    """One transaction of an operator."""

    @property
    def requests(self) -> RequestStore: ...
    @property
    def new_sagas(self) -> NewSagas: ...

    def lock(self, saga_ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, LockedSaga]:
        """The sagas among these ids."""
        ...

    def select(self, wanted: SagaSelection, *, limit: int) -> Sequence[uuid.UUID]:
        """The ids of those that match, the oldest first."""
        ...

    def save(self, steered: Sequence[tuple[SagaSnapshot, int]]) -> None:
        """Store instances read with these epochs; all are due, and no engine holds them."""
        ...

    def audit(self, entries: Sequence[AuditEntry]) -> None: ...
    def commit(self) -> None: ...


SagaWorkFactory = Callable[[], AbstractContextManager[SagaWork]]
"""Opens a transaction, rolled back unless it is committed."""

EncodeSaga = Callable[[SagaView], bytes]
"""The response that shows a saga."""
