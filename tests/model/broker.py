"""Kafka: markers, a coordinator that loses patience, a neighbour in the checkpoint's partition.

Nothing here is ours. It stands for what Kafka documents of transactions:
https://kafka.apache.org/documentation/#semantics
"""

from __future__ import annotations

from collections.abc import Sequence

from .chain_state import (
    ABORTING,
    COMMITTING,
    NONE,
    OPEN,
    Bounds,
    Entry,
    Mark,
    Move,
    State,
    World,
    put,
)
from .relaying import COMPLETE, LOOKING, PRODUCED, abort, is_written

__all__ = ["MOVES", "NEIGHBOUR", "visible"]

NEIGHBOUR = 9
"""The writer of the neighbour's record."""

_NOT_BEGUN, _OVER = "not begun", "over"


def visible(state: State) -> list[Entry]:
    """What a reader of committed messages sees: all before the first open transaction."""
    seen = []
    for entry in state.events:
        if entry.writer >= 0:
            break
        seen.append(entry)
    return seen


def marks_the_events(world: World, state: State, who: int) -> Sequence[State]:
    """The marker of a transaction that is being ended reaches the topic.

    Environment: Kafka's transaction coordinator.
    """
    ending = state.transactions[who]
    if ending not in (COMMITTING, ABORTING) or all(one.writer != who for one in state.events):
        return ()
    events = [
        entry._replace(writer=-1) if entry.writer == who else entry
        for entry in state.events
        if entry.writer != who or ending == COMMITTING
    ]
    return (_ended(state._replace(events=tuple(events)), who),)


def marks_the_checkpoint(world: World, state: State, who: int) -> Sequence[State]:
    """The marker reaches the checkpoint partition, before or after the other one.

    Environment: Kafka's transaction coordinator.
    """
    ending = state.transactions[who]
    if ending not in (COMMITTING, ABORTING) or all(one.writer != who for one in state.checkpoints):
        return ()
    writer = -1 if ending == COMMITTING else -2
    marks = tuple(
        mark._replace(writer=writer) if mark.writer == who else mark for mark in state.checkpoints
    )
    return (_ended(_compacted(state._replace(checkpoints=marks)), who),)


def times_the_transaction_out(world: World, state: State, who: int) -> Sequence[State]:
    """The coordinator aborts a transaction whose relay is too slow, and fences it.

    Environment: Kafka's transaction coordinator.
    """
    if state.transactions[who] != OPEN or state.relays[who].phase not in (PRODUCED, COMPLETE):
        return ()
    return (abort(state, who),)


def ends_what_was_left_open(world: World, state: State, who: int) -> Sequence[State]:
    """The coordinator aborts a transaction that its relay does not go on with.

    No fault: this comes for certain, and a relay may have to wait for it.

    Environment: Kafka's transaction coordinator.
    """
    if state.transactions[who] != OPEN or state.relays[who].phase in (PRODUCED, COMPLETE):
        return ()
    return (abort(state, who),)


def neighbour_begins(world: World, state: State, who: int) -> Sequence[State]:
    """Another source's relay has a checkpoint in a transaction of its own.

    Environment: another source.
    """
    if state.neighbour != _NOT_BEGUN:
        return ()
    return (state._replace(neighbour=OPEN, checkpoints=(*state.checkpoints, Mark(-1, NEIGHBOUR))),)


def neighbour_ends(world: World, state: State, who: int) -> Sequence[State]:
    """Its transaction is over, one way or the other.

    Environment: another source.
    """
    if state.neighbour != OPEN:
        return ()
    marks = tuple(
        mark._replace(writer=-2) if mark.writer == NEIGHBOUR else mark for mark in state.checkpoints
    )
    return (_compacted(state._replace(neighbour=_OVER, checkpoints=marks)),)


def _ended(state: State, who: int) -> State:
    """Without a record of it that waits for its marker, the transaction is over."""
    if is_written(state, who):
        return state
    return state._replace(transactions=put(state.transactions, who, NONE))


def _compacted(state: State) -> State:
    """The checkpoint partition without what no reader could tell apart.

    Aborted records, and committed ones that directly precede another; unless
    a relay has noted the log's end as a number of records.
    """
    if any(relay.phase == LOOKING for relay in state.relays):
        return state
    kept: list[Mark] = []
    for mark in state.checkpoints:
        if mark.writer == -2:
            continue
        if mark.writer == -1 and kept and kept[-1].writer == -1:
            kept.pop()
        kept.append(mark)
    return state._replace(checkpoints=tuple(kept))


def _transactions(bounds: Bounds) -> int:
    return bounds.relays


def _neighbours(bounds: Bounds) -> int:
    return int(bounds.neighbour)


MOVES = (
    Move(marks_the_events, "broker, for relay", _transactions),
    Move(marks_the_checkpoint, "broker, for relay", _transactions),
    Move(ends_what_was_left_open, "broker, for relay", _transactions),
    Move(neighbour_begins, "neighbour", _neighbours),
    Move(neighbour_ends, "neighbour", _neighbours),
    Move(times_the_transaction_out, "broker, for relay", _transactions, fault=True),
)
