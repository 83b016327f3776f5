"""Link 4: two consumers of one group, and a position that moves with the effect."""

from __future__ import annotations

from collections.abc import Sequence

from .broker import visible
from .chain_state import AWAY, HELD, Bounds, Consumer, Move, Row, State, World, put

__all__ = ["GONE", "MOVES"]

GONE = Consumer(AWAY, 0, 0)

FETCHED, IN_TRANSACTION, STALE, OWING = "fetched", "in transaction", "stale", "owing"
"""With messages; holding the position's row lock; found the position moved; effect committed,
position not (a flaw)."""


def takes_the_partition_over(world: World, state: State, who: int) -> Sequence[State]:
    """Start where the schema says.

    Stands for `trackops_common.assignment.Assignment._take_over` and
    `trackops_common.positions.PositionStore.load`.
    """
    if state.consumers[who].phase != AWAY or state.group != who:
        return ()
    return (_with(state, who, Consumer(HELD, state.stored, 0)),)


def gives_the_partition_up(world: World, state: State, who: int) -> Sequence[State]:
    """A poll tells it that the partition has gone; so never within a transaction.

    Stands for `trackops_common.assignment.Assignment._give_up` and
    `trackops_common.inbox._Run._expected`.
    """
    if state.group == who or state.consumers[who].phase not in (HELD, FETCHED, STALE):
        return ()
    return (_with(state, who, GONE),)


def fetches(world: World, state: State, who: int) -> Sequence[State]:
    """Committed messages from the position on, as many as have gathered.

    Stands for `trackops_common.inbox._Run._next_batch`.
    """
    consumer = state.consumers[who]
    if consumer.phase != HELD:
        return ()
    there = len(visible(state)) - consumer.expected
    return [
        _with(state, who, Consumer(FETCHED, consumer.expected, count))
        for count in range(1, min(there, world.bounds.batch) + 1)
    ]


def moves_the_position(world: World, state: State, who: int) -> Sequence[State]:
    """Begin a transaction, and move the position if it is where it was left.

    Whoever has moved it in an open transaction holds its row's lock.

    Stands for `trackops_common.positions.PositionStore.advance` and
    `trackops_common.inbox._Run._commit`.
    """
    consumer = state.consumers[who]
    if consumer.phase != FETCHED:
        return ()
    if any(other.phase == IN_TRANSACTION for other in state.consumers):
        return ()
    fits = state.stored == consumer.expected or world.flaws.no_compare_and_set
    phase = IN_TRANSACTION if fits else STALE
    return (_with(state, who, consumer._replace(phase=phase)),)


def commits_effect_and_position(world: World, state: State, who: int) -> Sequence[State]:
    """The handler's work and the position, at once.

    Stands for `trackops_common.inbox._Run._commit` and
    `trackops_common.database.Transaction.commit`.
    """
    consumer = state.consumers[who]
    if consumer.phase != IN_TRANSACTION:
        return ()
    after = _with(state, who, Consumer(HELD, consumer.expected + consumer.fetched, 0))
    return (_committed(world, state, after, who),)


def commits_without_knowing(world: World, state: State, who: int) -> Sequence[State]:
    """The commit succeeds, the connection dies: the same messages are handled again.

    Stands for `trackops_common.errors.TransientError`, as met by
    `trackops_common.inbox._Run._process`.
    """
    consumer = state.consumers[who]
    if consumer.phase != IN_TRANSACTION:
        return ()
    after = _with(state, who, consumer._replace(phase=FETCHED))
    return (_committed(world, state, after, who),)


def is_rolled_back(world: World, state: State, who: int) -> Sequence[State]:
    """The connection dies, or the handler raises `TransientError`; the messages stay at hand.

    Stands for `trackops_common.database.Database.transaction` and
    `trackops_common.inbox._Run._pause`.
    """
    consumer = state.consumers[who]
    if consumer.phase != IN_TRANSACTION:
        return ()
    return (_with(state, who, consumer._replace(phase=FETCHED)),)


def returns_to_the_stored_position(world: World, state: State, who: int) -> Sequence[State]:
    """Another owner has moved it: drop the messages, seek.

    Stands for `trackops_common.assignment.Assignment.return_to_stored`.
    """
    if state.consumers[who].phase != STALE:
        return ()
    own = state.consumers[who].expected
    start = own if world.flaws.no_return_to_stored else state.stored
    return (_with(state, who, Consumer(HELD, start, 0)),)


def moves_the_position_later(world: World, state: State, who: int) -> Sequence[State]:
    """Only where the flaw `position_outside` is on: a second transaction.

    Environment: the flaw.
    """
    consumer = state.consumers[who]
    if consumer.phase != OWING:
        return ()
    after = _with(state, who, Consumer(HELD, consumer.expected, 0))
    return (after._replace(stored=consumer.expected),)


def crashes(world: World, state: State, who: int) -> Sequence[State]:
    """The consumer dies; Postgres rolls back what it had open.

    Environment: the crash of a process.
    """
    if state.consumers[who].phase == AWAY:
        return ()
    return (_with(state, who, GONE),)


def rebalances(world: World, state: State, who: int) -> Sequence[State]:
    """The group gives the partition to this one, which the other learns later; it may be asleep.

    Environment: Kafka's group coordinator.
    """
    if state.group == who:
        return ()
    return (state._replace(group=who),)


def _committed(world: World, state: State, after: State, who: int) -> State:
    consumer = state.consumers[who]
    end = consumer.expected + consumer.fetched
    effects = state.effects + _rows(state, consumer.expected, end)
    if world.flaws.position_outside:
        return _with(after, who, Consumer(OWING, end, 0))._replace(effects=effects)
    return after._replace(effects=effects, stored=end)


def _rows(state: State, start: int, end: int) -> tuple[Row, ...]:
    return tuple(entry.row for entry in state.events[start:end])


def _with(state: State, who: int, consumer: Consumer) -> State:
    return state._replace(consumers=put(state.consumers, who, consumer))


def _consumers(bounds: Bounds) -> int:
    return bounds.consumers


MOVES = (
    Move(takes_the_partition_over, "consumer", _consumers),
    Move(gives_the_partition_up, "consumer", _consumers),
    Move(fetches, "consumer", _consumers),
    Move(moves_the_position, "consumer", _consumers),
    Move(commits_effect_and_position, "consumer", _consumers),
    Move(returns_to_the_stored_position, "consumer", _consumers),
    Move(moves_the_position_later, "consumer", _consumers),
    Move(commits_without_knowing, "consumer", _consumers, fault=True),
    Move(is_rolled_back, "consumer", _consumers, fault=True),
    Move(crashes, "consumer", _consumers, fault=True),
    Move(rebalances, "group's choice: consumer", _consumers, fault=True),
)
