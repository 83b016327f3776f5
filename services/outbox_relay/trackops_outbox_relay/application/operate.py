"""Carry out what operators ask of a source, as its owner and between its transactions."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from trackops_common.errors import TransientError
from trackops_outbox_relay.application.ports import Operations, Publisher, RowsRefused
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.application.rebase_source import RebaseSource
from trackops_outbox_relay.application.release_quarantine import ReleaseQuarantine
from trackops_outbox_relay.domain.errors import (
    OperationProblem,
    OperationRefused,
    SourceRefused,
)
from trackops_outbox_relay.domain.operations import Operation, OperationKind
from trackops_outbox_relay.domain.standing import Standing

__all__ = ["Operate"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Operate:
    """One operation a call, if there is one."""

    operations: Operations
    release_quarantine: ReleaseQuarantine
    rebase_source: RebaseSource
    progress: Progress

    def __call__(self, source: str, standing: Standing, publisher: Publisher) -> Standing:
        """Of a source that is published; the standing after it.

        Raises:
            Fenced, TransientError: the publisher is of no more use.
        """
        operation = self.operations.next(source)
        if operation is None:
            return standing
        try:
            standing = self._release(operation, standing, publisher)
        except OperationRefused as refusal:
            self._fail(operation, refusal)
            if isinstance(refusal.__cause__, RowsRefused):
                raise TransientError("the broker refused a replay; opening anew") from refusal
            return standing
        self.progress.reached(source, standing)
        self.settle(standing)
        return standing

    def settle(self, standing: Standing) -> None:
        """Close the record of the operation that was done last, also by a predecessor."""
        mark = standing.last_operation
        if mark is not None:
            self.operations.finish(mark.operation_id, mark.outcome)

    def on_refused(self, source: str, why: SourceRefused) -> bool:
        """Of a source that stands still; whether it was rebased. Raises `TransientError`."""
        operation = self.operations.next(source)
        if operation is None:
            return False
        try:
            if operation.kind is not OperationKind.REBASE:
                raise OperationRefused(source, OperationProblem.SOURCE_STANDS_STILL, str(why))
            self.rebase_source(operation)
        except OperationRefused as refusal:
            self._fail(operation, refusal)
            return False
        _log.warning("rebased", source=source, reason=operation.reason, by=operation.principal)
        return True

    def _release(self, operation: Operation, standing: Standing, publisher: Publisher) -> Standing:
        if operation.kind is OperationKind.REBASE:
            raise OperationRefused(
                operation.source,
                OperationProblem.SOURCE_NOT_REFUSED,
                f"source {operation.source} does not stand still",
            )
        standing = self.release_quarantine(operation, standing, publisher)
        _log.warning(
            "quarantine released",
            source=operation.source,
            key=operation.key,
            kind=operation.kind.value,
            reason=operation.reason,
            by=operation.principal,
        )
        return standing

    def _fail(self, operation: Operation, refusal: OperationRefused) -> None:
        _log.warning("operation refused", source=operation.source, error=str(refusal))
        self.operations.fail(operation.operation_id, refusal)
