"""Links 1 and 2: a request, its transaction, and its row in the outbox."""

from __future__ import annotations

from collections.abc import Sequence

from .chain_state import IDLE, Bounds, Move, Row, Session, State, World, put

__all__ = ["MOVES"]

_IDLE = Session(IDLE, -1, 0)


def asks(world: World, state: State, who: int) -> Sequence[State]:
    """A client sends a request that has no answer and is not on its way; a session takes it.

    Environment: the client.
    """
    under_way = {session.request for session in state.sessions}
    waiting = set(range(world.bounds.requests)).difference(state.answered, under_way)
    return _begun(world, state, who, waiting)


def asks_again_too_early(world: World, state: State, who: int) -> Sequence[State]:
    """A client gave up waiting, or its network sent the call twice: the same request comes
    while the first one is still on its way.

    Environment: the client.
    """
    under_way = {session.request for session in state.sessions if session.phase != IDLE}
    return _begun(world, state, who, under_way)


def _begun(world: World, state: State, who: int, requests: set[int]) -> Sequence[State]:
    if state.sessions[who].phase != IDLE:
        return ()
    return [
        state._replace(sessions=put(state.sessions, who, Session("begun", request, 0)))
        for request in requests
    ]


def locks_and_looks_up(world: World, state: State, who: int) -> Sequence[State]:
    """Lock the aggregate, look the request up; answer it if it is known, else do it.

    The lock of an order that is being created is its primary key. Nobody else
    sees what is done before the commit, so doing it is no step by itself.

    Stands for `trackops_common.idempotency.RequestLedger.answer`,
    `trackops_common.request_store.PostgresRequestStore.find` and
    `trackops_order.application.create_orders.CreateOrders`.
    """
    session = state.sessions[who]
    if session.phase != "begun":
        return ()
    key = world.key_of(session.request)
    if any(
        world.key_of(other.request) == key
        for other in state.sessions
        if other.phase in ("open", "inserted")
    ):
        return ()
    if not world.flaws.no_request_id and any(
        row.request == session.request for row in state.outbox
    ):
        return (_answered(state, who, session.request),)
    return (state._replace(sessions=put(state.sessions, who, session._replace(phase="open"))),)


def inserts_into_the_outbox(world: World, state: State, who: int) -> Sequence[State]:
    """Take the outbox's lock, and insert the row.

    Stands for `trackops_common.outbox.INSERT_AND_COMMIT`, as sent by
    `trackops_common.database.Transaction.commit`.
    """
    session = state.sessions[who]
    if session.phase != "open":
        return ()
    locked = any(other.phase == "inserted" for other in state.sessions)
    if locked and not world.flaws.no_outbox_lock:
        return ()
    seq = state.sequence + 1
    inserted = Session("inserted", session.request, seq)
    return (state._replace(sequence=seq, sessions=put(state.sessions, who, inserted)),)


def commits_and_answers(world: World, state: State, who: int) -> Sequence[State]:
    """The end of the same string: the row is there for all to see, and the client is told.

    Stands for `trackops_common.outbox.INSERT_AND_COMMIT`.
    """
    session = state.sessions[who]
    if session.phase != "inserted":
        return ()
    return (_answered(_committed(state, who), who, session.request),)


def commits_and_the_answer_is_lost(world: World, state: State, who: int) -> Sequence[State]:
    """The commit succeeds and nobody is told: the server or its connection dies, or the client's.

    Environment: the network, or a crash.
    """
    if state.sessions[who].phase != "inserted":
        return ()
    return (_committed(state, who),)


def is_rolled_back(world: World, state: State, who: int) -> Sequence[State]:
    """The session's connection is lost, or Postgres ends it; its `seq` is never used again.

    Stands for `trackops_common.database.Database.transaction`.
    """
    if state.sessions[who].phase == IDLE:
        return ()
    return (state._replace(sessions=put(state.sessions, who, _IDLE)),)


def crashes(world: World, state: State, who: int) -> Sequence[State]:
    """The order service dies: all its transactions are rolled back.

    Environment: the crash of a process.
    """
    if all(session.phase == IDLE for session in state.sessions):
        return ()
    return (state._replace(sessions=(_IDLE,) * len(state.sessions)),)


def _committed(state: State, who: int) -> State:
    session = state.sessions[who]
    return state._replace(
        outbox=(*state.outbox, Row(session.seq, session.request)),
        sessions=put(state.sessions, who, _IDLE),
    )


def _answered(state: State, who: int, request: int) -> State:
    return state._replace(
        answered=tuple(sorted({*state.answered, request})),
        sessions=put(state.sessions, who, _IDLE),
    )


def _sessions(bounds: Bounds) -> int:
    return bounds.sessions


MOVES = (
    Move(asks, "session", _sessions),
    Move(locks_and_looks_up, "session", _sessions),
    Move(inserts_into_the_outbox, "session", _sessions),
    Move(commits_and_answers, "session", _sessions),
    Move(asks_again_too_early, "session", _sessions, fault=True),
    Move(commits_and_the_answer_is_lost, "session", _sessions, fault=True),
    Move(is_rolled_back, "session", _sessions, fault=True),
    Move(crashes, "order service", lambda bounds: min(1, bounds.sessions), fault=True),
)
