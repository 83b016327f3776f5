"""Where an outbox and the log part, and what to do about it.

After a checkpoint was lost, or a database went back to an older state, the log
tells what was published: the last row that it has is the checkpoint. A row
before it that the log lacks was in quarantine, and goes there again, unless the
log has a later row of its key: then it was given up, and stays so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from trackops_outbox_relay.domain.checkpoint import START, Checkpoint
from trackops_outbox_relay.domain.quarantine import Fault, Quarantined, QuarantineReason
from trackops_outbox_relay.domain.standing import Standing, Step

__all__ = ["LogSpan", "RebasePlan", "RowPlace", "plan_rebase"]

_NOT_IN_LOG = Fault(QuarantineReason.NOT_IN_LOG, "a rebase did not find the row in the log")


class RowPlace(NamedTuple):
    """A row of the outbox without its payload."""

    seq: int
    event_id: str
    key: str
    topic: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class LogSpan:
    """What the log has of a source."""

    seqs: Mapping[str, int]
    """`ce_outboxseq` of each event, by its id."""
    complete_since: datetime
    """Whatever was published since is there; what is older may have expired."""

    def has(self, row: RowPlace) -> bool:
        return self.seqs.get(row.event_id) == row.seq


@dataclass(frozen=True, slots=True, kw_only=True)
class RebasePlan:
    """What a rebase would do."""

    step: Step
    """The transaction that does it."""
    rows_to_publish: int
    rows_in_log: int
    rows_passed_over: int
    keys_to_quarantine: int
    events_not_in_outbox: int
    first_event_not_in_outbox: int
    last_event_not_in_outbox: int
    judged_from_seq: int
    """Rows before were not judged: they are older than the log."""

    @property
    def checkpoint(self) -> Checkpoint:
        return self.step.standing.checkpoint

    @property
    def digest(self) -> str:
        """The same for every plan with the same outcome, whatever is published after it."""
        standing = self.step.standing
        waiting = sorted((one.key, one.first_seq) for one in standing.quarantine.values())
        text = repr((standing.checkpoint.seq, standing.checkpoint.event_id, waiting))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def plan_rebase(
    found: Standing, rows: Sequence[RowPlace], log: LogSpan, *, at: datetime
) -> RebasePlan:
    """Compare all `rows` of an outbox, by `seq`, with the log.

    `found` is what is left in the checkpoint topic.
    """
    unjudged = sum(row.occurred_at < log.complete_since for row in rows)
    logged = [place for place, row in enumerate(rows) if log.has(row)]
    kept = max(logged[-1] + 1 if logged else 0, unjudged)
    missing = [row for row in rows[unjudged:kept] if not log.has(row)]
    last_logged = {rows[place].key: rows[place].seq for place in logged}
    waiting = [row for row in missing if row.seq > last_logged.get(row.key, 0)]
    quarantine = _still_waiting(found, rows[:unjudged]) | _waiting_again(found, waiting, at)
    checkpoint = Checkpoint(rows[kept - 1].seq, rows[kept - 1].event_id) if kept else START
    known = {row.event_id for row in rows}
    orphans = [seq for event_id, seq in log.seqs.items() if event_id not in known]
    return RebasePlan(
        step=_step(found, Standing(checkpoint, quarantine)),
        rows_to_publish=len(rows) - kept,
        rows_in_log=len(logged),
        rows_passed_over=len(missing) - len(waiting),
        keys_to_quarantine=len(quarantine),
        events_not_in_outbox=len(orphans),
        first_event_not_in_outbox=min(orphans, default=0),
        last_event_not_in_outbox=max(orphans, default=0),
        judged_from_seq=rows[unjudged].seq if unjudged < len(rows) else checkpoint.seq + 1,
    )


def _waiting_again(
    found: Standing, waiting: Sequence[RowPlace], at: datetime
) -> dict[str, Quarantined]:
    entries: dict[str, Quarantined] = {}
    for row in waiting:
        before = found.quarantine.get(row.key)
        fault = before.fault if before and before.first_seq == row.seq else _NOT_IN_LOG
        entries.setdefault(row.key, Quarantined(row.key, row.seq, fault, at))
    return entries


def _still_waiting(found: Standing, unjudged: Sequence[RowPlace]) -> dict[str, Quarantined]:
    places = {(row.key, row.seq) for row in unjudged}
    return {
        key: entry for key, entry in found.quarantine.items() if (key, entry.first_seq) in places
    }


def _step(found: Standing, after: Standing) -> Step:
    keys = found.quarantine.keys() | after.quarantine.keys()
    return Step(after, changes={key: after.quarantine.get(key) for key in sorted(keys)})
