"""What operators did to a source."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from trackops_outbox_relay.application.ports import Operations
from trackops_outbox_relay.domain.errors import SourceNotFound
from trackops_outbox_relay.domain.operations import OperationRecord

__all__ = ["ListOperations"]


@dataclass(frozen=True, slots=True)
class ListOperations:
    """The audit, newest first."""

    sources: Collection[str]
    operations: Operations

    def __call__(self, source: str, *, before: int, limit: int) -> Sequence[OperationRecord]:
        """Operations with a number less than `before` (0: all), `limit` at most.

        Raises:
            SourceNotFound: no source has this name.
            TransientError: the database does not answer.
        """
        if source not in self.sources:
            raise SourceNotFound(source)
        return self.operations.history(source, before=before, limit=limit)
