"""Link 3, the relay's side: a lease, a checkpoint, and rows with the next one in a transaction."""

from __future__ import annotations

from collections.abc import Sequence

from .chain_state import (
    ABORTING,
    AWAY,
    COMMITTING,
    HELD,
    NONE,
    OPEN,
    Bounds,
    Entry,
    Mark,
    Move,
    Relay,
    State,
    World,
    put,
)

__all__ = ["COMPLETE", "GONE", "LOOKING", "MOVES", "PRODUCED", "REFUSED", "abort", "is_written"]

GONE = Relay(AWAY, False, False, 0, ())
_STARTS_OVER = Relay(HELD, False, False, 0, ())

OPENED, ASKED, LOOKING, READY, READ, PRODUCED, COMPLETE, UNKNOWN, OWING, REFUSED = (
    "opened",
    "asked",
    "looking",
    "ready",
    "read",
    "produced",
    "complete",
    "unknown",
    "owing",
    "refused",
)
"""With a new producer; told whether the source is known; reading checkpoints; with one; with rows;
those are sent; the checkpoint too; the first one committed, but the source not remembered;
committed, but the checkpoint not written (a flaw); standing still."""


def is_assigned_the_source(world: World, state: State, who: int) -> Sequence[State]:
    """The group gives it the checkpoint's partition: the lease.

    Stands for `trackops_outbox_relay.adapters.leases.GroupLeases`.
    """
    if state.relays[who].phase != AWAY or state.lease != who:
        return ()
    return (_with(state, who, _STARTS_OVER),)


def learns_that_its_lease_is_gone(world: World, state: State, who: int) -> Sequence[State]:
    """Its poll tells it, sooner or later; what it had open stays open.

    Stands for `trackops_outbox_relay.adapters.leases.SourceLease.end` and
    `trackops_outbox_relay.application.relay_source.RelaySource.run`.
    """
    if state.relays[who].phase == AWAY or state.lease == who:
        return ()
    return (_with(state, who, GONE),)


def opens_its_producer(world: World, state: State, who: int) -> Sequence[State]:
    """`init_transactions`: end what a predecessor left open, wait for its markers, fence it.

    Stands for `trackops_outbox_relay.adapters.publisher.KafkaPublishers.open`.
    """
    if state.relays[who].phase != HELD:
        return ()
    rivals = (who,) if world.flaws.no_fence else range(len(state.relays))
    relays, transactions = state.relays, state.transactions
    if any(transactions[rival] in (COMMITTING, ABORTING) for rival in rivals):
        return ()
    left_open = [rival for rival in rivals if transactions[rival] == OPEN]
    if left_open:
        return (abort(state, left_open[0]),)
    for rival in rivals:
        relays = put(relays, rival, relays[rival]._replace(valid=False))
    return (state._replace(relays=put(relays, who, Relay(OPENED, True, False, 0, ()))),)


def asks_whether_the_source_is_known(world: World, state: State, who: int) -> Sequence[State]:
    """Before it looks for the checkpoint, which a source has before it is known.

    Stands for `trackops_outbox_relay.application.start_source.StartSource` and
    `trackops_outbox_relay.adapters.postgres.PostgresKnownSources.checkpoint_topic_id`.
    """
    relay = state.relays[who]
    if relay.phase != OPENED:
        return ()
    return (_with(state, who, relay._replace(phase=ASKED, known=state.known)),)


def notes_the_end_of_the_checkpoints(world: World, state: State, who: int) -> Sequence[State]:
    """How far to read: to the end of the log, open transactions included.

    Stands for `trackops_outbox_relay.adapters.checkpoints.KafkaCheckpoints._watermarks`.
    """
    relay = state.relays[who]
    if relay.phase != ASKED:
        return ()
    return (_with(state, who, relay._replace(phase=LOOKING, place=len(state.checkpoints))),)


def reads_its_checkpoint(world: World, state: State, who: int) -> Sequence[State]:
    """The last committed one, once all up to the noted end can be read.

    A source without one begins at zero with a transaction of its own; a known
    source without one is refused.

    Stands for `trackops_outbox_relay.adapters.checkpoints.KafkaCheckpoints.last` and
    `trackops_outbox_relay.application.start_source.StartSource`.
    """
    relay = state.relays[who]
    if relay.phase != LOOKING:
        return ()
    marks = state.checkpoints
    readable = next((at for at, mark in enumerate(marks) if mark.writer >= 0), len(marks))
    if readable < relay.place and not world.flaws.checkpoint_not_to_end:
        return ()
    known = state.known if world.flaws.known_asked_late else relay.known
    own = [mark.seq for mark in marks[:readable] if mark.seq >= 0 and mark.writer == -1]
    if own:
        phase = READY if known else UNKNOWN
        return (_with(state, who, Relay(phase, relay.valid, False, own[-1], ())),)
    if known:
        return (_with(state, who, Relay(REFUSED, False, False, 0, ())),)
    remembered = state._replace(known=state.known or world.flaws.remembered_first)
    return (_with(remembered, who, Relay(READ, relay.valid, False, 0, ())),)


def looks_again(world: World, state: State, who: int) -> Sequence[State]:
    """A refused source is looked at again now and then.

    Stands for `trackops_outbox_relay.application.relay_source.RelaySource._stand_still`.
    """
    if state.relays[who].phase != REFUSED:
        return ()
    return (_with(state, who, _STARTS_OVER),)


def remembers_the_source(world: World, state: State, who: int) -> Sequence[State]:
    """After its first checkpoint.

    Stands for `trackops_outbox_relay.application.start_source.StartSource` and
    `trackops_outbox_relay.adapters.postgres.PostgresKnownSources.remember`.
    """
    relay = state.relays[who]
    if relay.phase != UNKNOWN:
        return ()
    return (_with(state._replace(known=True), who, relay._replace(phase=READY)),)


def reads_rows(world: World, state: State, who: int) -> Sequence[State]:
    """The next rows after the checkpoint, in the order of `seq`.

    Any number of them: also those that were there when it read ahead, or a
    part of them, as while it looks for a refused row.

    Stands for `trackops_outbox_relay.adapters.postgres.PostgresOutbox.read` and
    `trackops_outbox_relay.application.relay_source.RelaySource._publish_from`.
    """
    relay = state.relays[who]
    if relay.phase != READY:
        return ()
    rows = sorted(row for row in state.outbox if row.seq > relay.place)
    return [
        _with(state, who, Relay(READ, relay.valid, False, 0, tuple(rows[:count])))
        for count in range(1, min(len(rows), world.bounds.batch) + 1)
    ]


def produces_the_rows(world: World, state: State, who: int) -> Sequence[State]:
    """Begin a transaction and send the rows; a producer that was fenced starts over.

    Stands for `trackops_outbox_relay.adapters.publisher.KafkaPublisher.begin`.
    """
    relay = state.relays[who]
    if relay.phase != READ:
        return ()
    if not relay.valid:
        return (_with(state, who, _STARTS_OVER),)
    if state.transactions[who] != NONE:
        return ()
    phase = COMPLETE if world.flaws.checkpoint_outside and relay.rows else PRODUCED
    return (
        _with(state, who, relay._replace(phase=phase))._replace(
            transactions=put(state.transactions, who, OPEN),
            events=state.events + tuple(Entry(row, who) for row in relay.rows),
        ),
    )


def produces_the_checkpoint(world: World, state: State, who: int) -> Sequence[State]:
    """Into the same transaction.

    Stands for `trackops_outbox_relay.adapters.publisher.KafkaPublisher.begin`,
    `trackops_outbox_relay.adapters.records.records_of` and
    `trackops_outbox_relay.domain.standing.advance`.
    """
    relay = state.relays[who]
    if relay.phase != PRODUCED:
        return ()
    if not relay.valid:
        return (_with(state, who, _STARTS_OVER),)
    marks = (*state.checkpoints, Mark(_reached(relay), who))
    after = _with(state, who, relay._replace(phase=COMPLETE))
    return (after._replace(checkpoints=marks),)


def commits(world: World, state: State, who: int) -> Sequence[State]:
    """End the transaction, and go on from the new checkpoint.

    Stands for `trackops_outbox_relay.adapters.publisher.KafkaPublisher.commit` and
    `trackops_outbox_relay.application.relay_source.RelaySource._publish`.
    """
    relay = state.relays[who]
    if relay.phase != COMPLETE:
        return ()
    if not relay.valid:
        return (_with(state, who, _STARTS_OVER),)
    if world.flaws.checkpoint_outside and relay.rows:
        return (_committing(state, who, relay._replace(phase=OWING)),)
    return (_committing(state, who, _after(relay)),)


def writes_the_checkpoint_by_itself(world: World, state: State, who: int) -> Sequence[State]:
    """Only where the flaw `checkpoint_outside` is on.

    Environment: the flaw.
    """
    relay = state.relays[who]
    if relay.phase != OWING:
        return ()
    marks = (*state.checkpoints, Mark(_reached(relay), -1))
    return (_with(state, who, _after(relay))._replace(checkpoints=marks),)


def commits_without_knowing(world: World, state: State, who: int) -> Sequence[State]:
    """The broker commits, its answer is lost: a new producer has to find out.

    Stands for `trackops_common.errors.TransientError`, as raised by
    `trackops_outbox_relay.adapters.publisher._translated_errors`.
    """
    relay = state.relays[who]
    if relay.phase != COMPLETE or not relay.valid:
        return ()
    return (_committing(state, who, _STARTS_OVER),)


def gives_its_producer_up(world: World, state: State, who: int) -> Sequence[State]:
    """The broker or the database did not answer: start over with another producer.

    Stands for `trackops_common.errors.TransientError` and
    `trackops_outbox_relay.application.relay_source.RelaySource._wait_after`.
    """
    if state.relays[who].phase in (AWAY, HELD, REFUSED):
        return ()
    return (_with(state, who, _STARTS_OVER),)


def crashes(world: World, state: State, who: int) -> Sequence[State]:
    """The relay dies, leaving open what it had open.

    Environment: the crash of a process.
    """
    if state.relays[who].phase == AWAY:
        return ()
    return (_with(state, who, GONE),)


def rebalances(world: World, state: State, who: int) -> Sequence[State]:
    """The group gives the lease to this one, which the other learns later; it may be asleep.

    Environment: Kafka's group coordinator.
    """
    if state.lease == who:
        return ()
    return (state._replace(lease=who),)


def abort(state: State, owner: int) -> State:
    """The coordinator begins to abort this relay's transaction, which fences its producer."""
    relay = state.relays[owner]._replace(valid=False)
    written = is_written(state, owner)
    return _with(state, owner, relay)._replace(
        transactions=put(state.transactions, owner, ABORTING if written else NONE)
    )


def is_written(state: State, owner: int) -> bool:
    """Whether messages of this relay's transaction wait for their marker."""
    return any(one.writer == owner for one in state.events) or any(
        one.writer == owner for one in state.checkpoints
    )


def _committing(state: State, who: int, after: Relay) -> State:
    return _with(state, who, after)._replace(transactions=put(state.transactions, who, COMMITTING))


def _reached(relay: Relay) -> int:
    return relay.rows[-1].seq if relay.rows else 0


def _after(relay: Relay) -> Relay:
    return Relay(READY if relay.rows else UNKNOWN, relay.valid, False, _reached(relay), ())


def _with(state: State, who: int, relay: Relay) -> State:
    return state._replace(relays=put(state.relays, who, relay))


def _relays(bounds: Bounds) -> int:
    return bounds.relays


MOVES = (
    Move(is_assigned_the_source, "relay", _relays),
    Move(learns_that_its_lease_is_gone, "relay", _relays),
    Move(opens_its_producer, "relay", _relays),
    Move(asks_whether_the_source_is_known, "relay", _relays),
    Move(notes_the_end_of_the_checkpoints, "relay", _relays),
    Move(reads_its_checkpoint, "relay", _relays),
    Move(looks_again, "relay", _relays),
    Move(remembers_the_source, "relay", _relays),
    Move(reads_rows, "relay", _relays),
    Move(produces_the_rows, "relay", _relays),
    Move(produces_the_checkpoint, "relay", _relays),
    Move(commits, "relay", _relays),
    Move(writes_the_checkpoint_by_itself, "relay", _relays),
    Move(commits_without_knowing, "relay", _relays, fault=True),
    Move(gives_its_producer_up, "relay", _relays, fault=True),
    Move(crashes, "relay", _relays, fault=True),
    Move(rebalances, "group's choice: relay", _relays, fault=True),
)
