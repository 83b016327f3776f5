"""Compare an outbox with the log."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from trackops_common.clock import Clock
from trackops_outbox_relay.application.ports import Checkpoints, EventLog, Outboxes
from trackops_outbox_relay.domain.errors import SourceNotFound
from trackops_outbox_relay.domain.rebase import LogSpan, RebasePlan
from trackops_outbox_relay.domain.rebase import plan_rebase as plan

__all__ = ["PlanRebase"]

_CLOCKS_APART = timedelta(minutes=1)
"""Allowed between the clocks of services and relay."""


@dataclass(frozen=True, slots=True)
class PlanRebase:
    """Where an outbox and the log part; changes nothing."""

    sources: Collection[str]
    outboxes: Outboxes
    checkpoints: Checkpoints
    log: EventLog
    clock: Clock

    def __call__(self, source: str) -> RebasePlan:
        """Reads every event since the oldest row of the outbox.

        Raises:
            SourceNotFound: no source has this name.
            TransientError: the broker or the database does not answer.
        """
        if source not in self.sources:
            raise SourceNotFound(source)
        now = self.clock.now()
        found = self.checkpoints.found(source)
        rows = self.outboxes.of(source).places()
        span = LogSpan({}, now)
        if rows:
            since = min(row.occurred_at for row in rows) - _CLOCKS_APART
            span = self.log.events(source, sorted({row.topic for row in rows}), since=since)
        return plan(found, rows, span, at=now)
