"""Have something done to a source by whichever replica owns it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from trackops_common.errors import DeadlineExceeded
from trackops_outbox_relay.application.ports import Operations
from trackops_outbox_relay.domain.errors import SourceNotFound
from trackops_outbox_relay.domain.operations import Operation, OperationState

__all__ = ["OrderOperation"]

_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class OrderOperation:
    """Puts it on record and waits until the owner has done or refused it."""

    sources: Collection[str]
    operations: Operations
    pause: Callable[[float], None] = time.sleep

    def __call__(self, operation: Operation, *, wait_seconds: float) -> str:
        """The outcome. A repeat gets that of the first time, but for one that was refused.

        Raises:
            SourceNotFound: no source has this name.
            RequestIdReused: the id stands for another operation.
            OperationRefused: the owner refused it.
            DeadlineExceeded: nobody took it up in time; it stays on record.
            TransientError: the database does not answer.
        """
        if operation.source not in self.sources:
            raise SourceNotFound(operation.source)
        give_up = time.monotonic() + wait_seconds
        self.operations.submit(operation)
        while (record := self.operations.find(operation.operation_id)).state is (
            OperationState.PENDING
        ):
            if time.monotonic() >= give_up:
                raise DeadlineExceeded
            self.pause(_LOOK_SECONDS)
        return record.outcome
