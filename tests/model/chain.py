"""The chain from a request to the effect of its event: all processes together, and what must hold.

    client -> session of the order service -> outbox -> relay -> Kafka -> consumer -> effect

`Bounds` leaves parts out, so that each link can be explored with more of
everything than the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from . import broker, inbox, intake, relaying
from .broker import visible
from .chain_state import (
    COMMITTING,
    IDLE,
    NONE,
    Bounds,
    Consumer,
    Entry,
    Flaws,
    Mark,
    Move,
    Relay,
    Row,
    Session,
    State,
    World,
)
from .explorer import Step

__all__ = ["INVARIANTS", "MOVES", "Chain"]

MOVES: tuple[Move, ...] = (*intake.MOVES, *relaying.MOVES, *broker.MOVES, *inbox.MOVES)


def one_row_a_request(world: World, state: State) -> bool:
    """A request has one row, however often it is asked; and one that was answered has it."""
    requests = [row.request for row in state.outbox]
    return len(requests) == len(set(requests)) and set(state.answered) <= set(requests)


def seen_once(world: World, state: State) -> bool:
    """A row is visible to a reader of committed messages at most once."""
    rows = [entry.row for entry in state.events if entry.writer < 0]
    return len(rows) == len(set(rows))


def seen_in_order(world: World, state: State) -> bool:
    """What is visible of a key begins with its first row, in the order of its commits."""
    seen = [entry.row for entry in visible(state)]
    for key in range(world.bounds.keys):
        written = [row for row in state.outbox if world.key_of(row.request) == key]
        of_key = [row for row in seen if world.key_of(row.request) == key]
        if of_key != written[: len(of_key)]:
            return False
    return True


def nothing_passed_over(world: World, state: State) -> bool:
    """No committed row at or below a committed checkpoint that is not in the log for good."""
    checkpoint = max(
        (mark.seq for mark in state.checkpoints if _stands(state, mark) and mark.seq >= 0),
        default=0,
    )
    published = {entry.row for entry in state.events if _stands(state, entry)}
    return all(row.seq > checkpoint or row in published for row in state.outbox)


def done_once(world: World, state: State) -> bool:
    """A message takes effect at most once."""
    return len(state.effects) == len(set(state.effects))


def done_in_order(world: World, state: State) -> bool:
    """What has taken effect is what comes first in the log."""
    return state.effects == tuple(entry.row for entry in state.events[: len(state.effects)])


def position_is_what_was_done(world: World, state: State) -> bool:
    """The position is not above what has taken effect."""
    return state.stored <= len(state.effects)


def refused_for_a_reason(world: World, state: State) -> bool:
    """No source stands still, since no checkpoint gets lost here."""
    return all(relay.phase != relaying.REFUSED for relay in state.relays)


INVARIANTS = (
    one_row_a_request,
    seen_once,
    seen_in_order,
    nothing_passed_over,
    refused_for_a_reason,
    done_once,
    done_in_order,
    position_is_what_was_done,
)


class Chain:
    """The model, with its bounds, and flaws where it is to be shown that they are found."""

    def __init__(self, bounds: Bounds, flaws: Flaws | None = None) -> None:
        self._world = World(bounds, flaws or Flaws())
        self._moves, self._faults = (
            [
                (move.take, who, move.name, f"{move.process} {who}")
                for move in MOVES
                for who in range(move.count(bounds))
                if move.fault is fault
            ]
            for fault in (False, True)
        )
        self._verdicts: dict[tuple[object, ...], str | None] = {}
        self.start = _start(bounds)

    def steps(self, state: State) -> Iterator[Step[State]]:
        world = self._world
        for take, who, name, process in self._moves:
            for after in take(world, state, who):
                yield Step(name, process, False, after)
        if state.faults:
            fewer = state._replace(faults=state.faults - 1)
            for take, who, name, process in self._faults:
                for after in take(world, fewer, who):
                    yield Step(name, process, True, after)

    def broken(self, state: State) -> str | None:
        refused = any(relay.phase == relaying.REFUSED for relay in state.relays)
        judged = (
            refused,
            state.answered,
            state.outbox,
            state.transactions,
            state.events,
            state.checkpoints,
            state.stored,
            state.effects,
        )
        if judged not in self._verdicts:
            failed = (one.__name__ for one in INVARIANTS if not one(self._world, state))
            self._verdicts[judged] = next(failed, None)
        return self._verdicts[judged]

    def done(self, state: State) -> bool:
        """Every request is answered, every row is in the log, every message has taken effect."""
        bounds = self._world.bounds
        return (
            len(state.answered) == len(state.outbox) == bounds.requests
            and all(session.phase == IDLE for session in state.sessions)
            and (not bounds.relays or len(state.events) == len(visible(state)) == bounds.requests)
            and all(one == NONE for one in state.transactions)
            and (not bounds.consumers or state.stored == len(state.events) == len(state.effects))
        )

    def show(self, state: State) -> Mapping[str, str]:
        shown = {
            "sessions": _each(one.phase + _about(one.request) for one in state.sessions),
            "outbox": _each(f"seq{row.seq}{_about(row.request)}" for row in state.outbox),
            "answered": _each(map(str, state.answered)),
            "lease": str(state.lease),
            "relays": _each(map(_relay, state.relays)),
            "transactions": _each(state.transactions),
            "log": _each(f"seq{one.row.seq}{_open(one)}" for one in state.events),
            "checkpoints": _each(map(_mark, state.checkpoints)),
            "group": str(state.group),
            "consumers": _each(map(_consumer, state.consumers)),
            "position": str(state.stored),
            "effects": _each(f"seq{row.seq}" for row in state.effects),
        }
        return {name: text for name, text in shown.items() if self._is_there(name)}

    def _is_there(self, part: str) -> bool:
        bounds = self._world.bounds
        if part in ("sessions", "answered"):
            return bounds.sessions > 0
        if part in ("group", "consumers", "position", "effects"):
            return bounds.consumers > 0
        return part == "outbox" or part == "log" or bounds.relays > 0


def _start(bounds: Bounds) -> State:
    rows = tuple(Row(request + 1, request) for request in range(bounds.written))
    published = rows[: bounds.published]
    return State(
        faults=bounds.faults,
        answered=tuple(range(bounds.written)),
        sessions=(Session(IDLE, -1, 0),) * bounds.sessions,
        sequence=bounds.written,
        outbox=rows,
        known=bool(published),
        lease=0,
        relays=(relaying.GONE,) * bounds.relays,
        transactions=(NONE,) * bounds.relays,
        events=tuple(Entry(row, -1) for row in published),
        checkpoints=tuple(Mark(row.seq, -1) for row in published[-1:]),
        neighbour="not begun",
        group=0,
        consumers=(inbox.GONE,) * bounds.consumers,
        stored=0,
        effects=(),
    )


def _stands(state: State, one: Entry | Mark) -> bool:
    """Committed, if its marker is not there yet."""
    if one.writer < 0:
        return one.writer == -1
    return one.writer != broker.NEIGHBOUR and state.transactions[one.writer] == COMMITTING


def _each(texts: Iterable[str]) -> str:
    return f"[{', '.join(texts)}]"


def _about(request: int) -> str:
    return f"(request {request})" if request >= 0 else ""


def _open(one: Entry | Mark) -> str:
    if one.writer == broker.NEIGHBOUR:
        return "(neighbour's, open)"
    return f"(open by {one.writer})" if one.writer >= 0 else ""


def _mark(mark: Mark) -> str:
    if mark.writer == -2:
        return "aborted"
    return f"{mark.seq if mark.seq >= 0 else ''}{_open(mark)}"


def _relay(relay: Relay) -> str:
    rows = ",".join(f"seq{row.seq}" for row in relay.rows)
    at = f" at {relay.place}" if relay.phase in ("ready", "unknown") else ""
    fenced = "" if relay.valid or relay.phase in ("away", "held", "refused") else " fenced"
    return f"{relay.phase}{at}{' ' if rows else ''}{rows}{fenced}"


def _consumer(consumer: Consumer) -> str:
    if consumer.phase == "away":
        return consumer.phase
    ahead = f"+{consumer.fetched}" if consumer.fetched else ""
    return f"{consumer.phase} at {consumer.expected}{ahead}"
