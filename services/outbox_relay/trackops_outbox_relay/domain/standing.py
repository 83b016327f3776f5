"""What Kafka holds about a source, and the one step by which a transaction changes it.

Rows of a key leave in the order of `seq`: a key in quarantine lets none of its
rows pass, and its release publishes what waited before any row beyond the
checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from trackops_outbox_relay.domain.checkpoint import START, Checkpoint, OutboxRow
from trackops_outbox_relay.domain.quarantine import Fault, Quarantined

__all__ = ["OperationMark", "Standing", "Step", "advance", "release"]


@dataclass(frozen=True, slots=True)
class OperationMark:
    """The operation that was done last, written in the transaction that did it."""

    operation_id: str
    outcome: str
    """As it goes into the operation's record."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A source as its partition of the checkpoint topic tells it."""

    checkpoint: Checkpoint = START
    quarantine: Mapping[str, Quarantined] = field(default_factory=dict)
    """By key."""
    last_operation: OperationMark | None = None

    @property
    def lowest_quarantined_seq(self) -> int:
        """The least `seq` of a row that waits; 0 where none does."""
        return min((one.first_seq for one in self.quarantine.values()), default=0)


@dataclass(frozen=True, slots=True)
class Step:
    """One Kafka transaction."""

    standing: Standing
    """After it."""
    rows: Sequence[OutboxRow] = ()
    """To be published, in this order."""
    changes: Mapping[str, Quarantined | None] = field(default_factory=dict)
    """Keys that go into quarantine (or wait from another row on), and None for those it leaves."""


def advance(
    standing: Standing, rows: Sequence[OutboxRow], faults: Mapping[int, Fault], *, at: datetime
) -> Step:
    """Publish `rows`, which follow the checkpoint, but for those that are at fault or wait.

    `faults` are by `seq`.
    """
    after = replace(standing, checkpoint=rows[-1].checkpoint)
    if not faults and not standing.quarantine:
        return Step(after, rows)
    quarantine = dict(standing.quarantine)
    changes: dict[str, Quarantined | None] = {}
    leaving = []
    for row in rows:
        if row.key in quarantine:
            continue
        if row.seq in faults:
            entry = Quarantined(row.key, row.seq, faults[row.seq], at)
            quarantine[row.key] = changes[row.key] = entry
        else:
            leaving.append(row)
    return Step(replace(after, quarantine=quarantine), leaving, changes)


def release(
    standing: Standing,
    key: str,
    waiting: Sequence[OutboxRow],
    faults: Mapping[int, Fault],
    *,
    more: int | None,
    at: datetime,
) -> Step:
    """Publish the `waiting` rows of one key up to the first at fault, from which on it waits.

    Args:
        standing: the key is in its quarantine.
        key: the key to release.
        waiting: its rows up to the checkpoint, without those that are given up.
        faults: by `seq`.
        more: `seq` of the first waiting row that is not in `waiting`; None where all are.
        at: the time of the change.
    """
    entry = standing.quarantine[key]
    at_fault = next((place for place, row in enumerate(waiting) if row.seq in faults), None)
    left: Quarantined | None = None
    if at_fault is not None:
        row = waiting[at_fault]
        left = Quarantined(key, row.seq, faults[row.seq], at)
    elif more is not None:
        left = replace(entry, first_seq=more)
    quarantine = {k: one for k, one in standing.quarantine.items() if k != key}
    if left is not None:
        quarantine[key] = left
    return Step(replace(standing, quarantine=quarantine), waiting[:at_fault], {key: left})
