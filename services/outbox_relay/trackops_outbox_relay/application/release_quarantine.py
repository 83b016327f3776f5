"""Replay or discard what waits of one key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trackops_common.clock import Clock
from trackops_outbox_relay.application.ports import Outbox, Publisher, RowsRefused
from trackops_outbox_relay.domain.checkpoint import OutboxRow
from trackops_outbox_relay.domain.errors import OperationProblem, OperationRefused
from trackops_outbox_relay.domain.operations import Operation, OperationKind
from trackops_outbox_relay.domain.quarantine import Fault
from trackops_outbox_relay.domain.standing import OperationMark, Standing, Step, release

__all__ = ["ReleaseQuarantine"]

_ROWS_AT_ONCE = 20_000
"""What one transaction takes; a key with more of them stays in quarantine from the next row on."""


@dataclass(frozen=True, slots=True)
class ReleaseQuarantine:
    """One Kafka transaction: the rows, the end (or the new begin) of the quarantine, the mark."""

    outbox: Outbox
    clock: Clock

    def __call__(self, operation: Operation, standing: Standing, publisher: Publisher) -> Standing:
        """The standing after it; what the operation comes to is its mark.

        Raises:
            OperationRefused: it cannot be done; nothing was changed. Where the
                broker refused a row (the cause is `RowsRefused`) the publisher
                is of no more use.
            Fenced, TransientError: of the publisher; whether it was done is
                told by the checkpoint.
        """
        entry = standing.quarantine.get(operation.key)
        if entry is None:
            raise self._refusal(
                operation, OperationProblem.KEY_NOT_QUARANTINED, "no rows of this key wait"
            )
        waiting = self.outbox.of_key(
            operation.key,
            first=entry.first_seq,
            last=standing.checkpoint.seq,
            limit=_ROWS_AT_ONCE + 1,
        )
        given_up = self._given_up(operation, waiting)
        leaving = waiting[given_up:_ROWS_AT_ONCE]
        more = waiting[_ROWS_AT_ONCE].seq if len(waiting) > _ROWS_AT_ONCE else None
        faults = publisher.faults(leaving)
        step = release(standing, operation.key, leaving, faults, more=more, at=self.clock.now())
        if operation.kind is OperationKind.REPLAY and not step.rows:
            raise self._still_unpublishable(operation, leaving, faults)
        outcome = _outcome(operation, step, given_up)
        after = replace(
            step.standing, last_operation=OperationMark(operation.operation_id, outcome)
        )
        try:
            publisher.begin(replace(step, standing=after))
            publisher.commit()
        except RowsRefused as error:
            raise self._refusal(
                operation, OperationProblem.STILL_UNPUBLISHABLE, error.detail
            ) from error
        return after

    def _given_up(self, operation: Operation, waiting: Sequence[OutboxRow]) -> int:
        """How many of the first rows are to be discarded."""
        if operation.kind is OperationKind.REPLAY:
            return 0
        places = [place for place, row in enumerate(waiting) if row.seq == operation.through_seq]
        if not places or places[0] >= _ROWS_AT_ONCE:
            raise self._refusal(
                operation,
                OperationProblem.ROW_NOT_QUARANTINED,
                f"no row of this key waits at seq {operation.through_seq}",
            )
        return places[0] + 1

    def _still_unpublishable(
        self, operation: Operation, leaving: Sequence[OutboxRow], faults: Mapping[int, Fault]
    ) -> OperationRefused:
        fault = faults.get(leaving[0].seq) if leaving else None
        detail = fault.detail if fault else "the outbox does not hold its rows any more"
        return self._refusal(operation, OperationProblem.STILL_UNPUBLISHABLE, detail)

    @staticmethod
    def _refusal(operation: Operation, problem: OperationProblem, message: str) -> OperationRefused:
        return OperationRefused(operation.source, problem, message)


def _outcome(operation: Operation, step: Step, given_up: int) -> str:
    outcome: dict[str, object] = {"published_rows": len(step.rows), "discarded_rows": given_up}
    left = step.standing.quarantine.get(operation.key)
    if left is not None:
        outcome["remaining"] = {
            "first_seq": left.first_seq,
            "reason": left.fault.reason.value,
            "detail": left.fault.detail,
        }
    return json.dumps(outcome)
