"""Show sagas to operators."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from trackops_saga_orchestrator.application.ports import (
    PagePosition,
    SagaFilter,
    SagaReader,
    SagaView,
)
from trackops_saga_orchestrator.domain.errors import SagaNotFound

__all__ = ["GetSaga", "ListSagas", "SagaPage"]

_DEFAULT_SIZE = 50


@dataclass(frozen=True)
class GetSaga:
    """One saga by its id."""

    reader: SagaReader

    def __call__(self, saga_id: uuid.UUID) -> SagaView:
        """Raises `SagaNotFound`."""
        found = self.reader.find(saga_id)
        if found is None:
            raise SagaNotFound(saga_id)
        return found


@dataclass(frozen=True, slots=True)
class SagaPage:
    """Some sagas, newest first, and where the next page begins, if there is one."""

    sagas: Sequence[SagaView]
    next: PagePosition | None


@dataclass(frozen=True)
class ListSagas:
    """Sagas by page."""

    reader: SagaReader

    def __call__(self, wanted: SagaFilter, *, size: int, after: PagePosition | None) -> SagaPage:
        """The page after `after`; size 0 is the default of 50."""
        size = size or _DEFAULT_SIZE
        found = self.reader.page(wanted, size=size + 1, after=after)
        if len(found) <= size:
            return SagaPage(found, None)
        last = found[size - 1]
        return SagaPage(found[:size], PagePosition(last.create_time, last.snapshot.saga_id))
