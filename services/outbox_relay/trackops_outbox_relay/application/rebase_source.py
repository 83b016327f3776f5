"""Set the checkpoint of a source that stands still."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from trackops_outbox_relay.application.plan_rebase import PlanRebase
from trackops_outbox_relay.application.ports import (
    Checkpoints,
    KnownSources,
    Operations,
    Publishers,
)
from trackops_outbox_relay.domain.errors import OperationProblem, OperationRefused
from trackops_outbox_relay.domain.operations import Operation
from trackops_outbox_relay.domain.standing import OperationMark

__all__ = ["RebaseSource"]


@dataclass(frozen=True, slots=True)
class RebaseSource:
    """By the plan that the operator saw, and in one transaction."""

    plan_rebase: PlanRebase
    publishers: Publishers
    checkpoints: Checkpoints
    known_sources: KnownSources
    operations: Operations

    def __call__(self, operation: Operation) -> None:
        """Done by the source's owner, whose publisher is closed.

        Raises:
            OperationRefused: the comparison has another outcome now.
            Fenced, TransientError: whether it was done is told by the checkpoint.
        """
        with self.publishers.open(operation.source) as publisher:
            mark = self.checkpoints.found(operation.source).last_operation
            if mark is None or mark.operation_id != operation.operation_id:
                plan = self.plan_rebase(operation.source)
                if plan.digest != operation.digest:
                    raise OperationRefused(
                        operation.source,
                        OperationProblem.REBASE_PLAN_CHANGED,
                        f"the comparison now comes to plan {plan.digest}, not {operation.digest}",
                    )
                checkpoint = plan.checkpoint
                outcome = json.dumps({"seq": checkpoint.seq, "event_id": checkpoint.event_id})
                mark = OperationMark(operation.operation_id, outcome)
                after = replace(plan.step.standing, last_operation=mark)
                publisher.begin(replace(plan.step, standing=after))
                publisher.commit()
        self.known_sources.remember(operation.source, self.checkpoints.topic_id())
        self.operations.finish(operation.operation_id, mark.outcome)
