"""What the model of the chain is made of: tables, logs, and what each process has in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

__all__ = [
    "ABORTING",
    "AWAY",
    "COMMITTING",
    "HELD",
    "IDLE",
    "NONE",
    "OPEN",
    "Bounds",
    "Consumer",
    "Entry",
    "Flaws",
    "Mark",
    "Move",
    "Relay",
    "Row",
    "Session",
    "State",
    "Transition",
    "World",
    "put",
]

T = TypeVar("T")

IDLE = "idle"
AWAY = "away"
"""Without a lease, or a partition; also where a process is after a crash."""
HELD = "held"
NONE, OPEN, COMMITTING, ABORTING = "none", "open", "committing", "aborting"
"""A Kafka transaction as the coordinator sees it; in the last two the markers are being written."""


class Row(NamedTuple):
    """A row of the outbox, and the message that is made of it."""

    seq: int
    request: int
    """The request that caused it; its key is the request's, modulo the number of keys."""


class Session(NamedTuple):
    """A connection of the order service. `open` holds the aggregate's lock, `inserted` the
    outbox's too."""

    phase: str
    request: int
    seq: int


class Entry(NamedTuple):
    """A message in Kafka; `writer` is the relay whose transaction is not over, -1 after its
    marker. Messages of a transaction that was aborted are left out."""

    row: Row
    writer: int


class Mark(NamedTuple):
    """A record of the checkpoint partition; the neighbour's has the `seq` -1."""

    seq: int
    writer: int


class Relay(NamedTuple):
    """A worker of the relay, and the lease it believes in."""

    phase: str
    valid: bool
    """Whether the broker takes its producer's epoch."""
    known: bool
    """Whether it found the source known, while it looks for the checkpoint."""
    place: int
    """The checkpoint it stands at; while it looks for that, how many records to read."""
    rows: tuple[Row, ...]


class Consumer(NamedTuple):
    """A consumer of the group, and the partition it believes in."""

    phase: str
    expected: int
    fetched: int


class State(NamedTuple):
    """All of it. Equal states are the same state."""

    faults: int
    """Still to come, at most."""
    answered: tuple[int, ...]
    sessions: tuple[Session, ...]
    sequence: int
    """The outbox's last `seq`."""
    outbox: tuple[Row, ...]
    """What is committed, in the order of the commits."""
    known: bool
    """Whether the relay's own schema has the source."""
    lease: int
    """The relay to which the group has assigned the source."""
    relays: tuple[Relay, ...]
    transactions: tuple[str, ...]
    """For each relay's producer."""
    events: tuple[Entry, ...]
    """The topic's one partition, by offset; markers and aborted messages take no offset here."""
    checkpoints: tuple[Mark, ...]
    neighbour: str
    """The transaction of another source whose checkpoints stand in the same partition."""
    group: int
    """The consumer to which the partition is assigned."""
    consumers: tuple[Consumer, ...]
    stored: int
    """The consumer's position in its schema."""
    effects: tuple[Row, ...]
    """What the handler has done, in order."""


@dataclass(frozen=True, slots=True)
class Flaws:
    """Ways to build it wrong; all off is how it is built."""

    no_request_id: bool = False
    """A repeated request is not looked up."""
    no_outbox_lock: bool = False
    """The outbox's rows are inserted without the lock."""
    no_fence: bool = False
    """Each relay has a transactional id of its own, so opening one ends nothing of another."""
    checkpoint_outside: bool = False
    """The checkpoint is written after the transaction of the rows."""
    checkpoint_not_to_end: bool = False
    """The checkpoint is read up to the first open transaction, whoever has it open."""
    remembered_first: bool = False
    """The source is known before its first checkpoint stands."""
    known_asked_late: bool = False
    """Whether the source is known is asked once its checkpoint has been looked for."""
    no_compare_and_set: bool = False
    """The consumer moves its position wherever that stands."""
    position_outside: bool = False
    """The consumer moves its position after the handler's transaction."""
    no_return_to_stored: bool = False
    """A consumer that finds its position moved goes on from its own."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of everything there is."""

    requests: int
    keys: int
    faults: int
    written: int = 0
    """So many requests have their row when the exploration starts."""
    published: int = 0
    """So many of those rows are in the log then."""
    sessions: int = 1
    relays: int = 1
    batch: int = 2
    """Rows in one transaction of the relay, messages in one of the consumer."""
    neighbour: bool = False
    consumers: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """What does not change."""

    bounds: Bounds
    flaws: Flaws

    def key_of(self, request: int) -> int:
        return request % self.bounds.keys


class Transition(Protocol):
    """What one process, by its number, can do at once in a state: the states after it."""

    __name__: str

    def __call__(self, world: World, state: State, who: int, /) -> Sequence[State]: ...


@dataclass(frozen=True, slots=True)
class Move:
    """A transition and who makes it."""

    take: Transition
    process: str
    count: Callable[[Bounds], int]
    """How many such processes there are."""
    fault: bool = False

    @property
    def name(self) -> str:
        """In words."""
        return self.take.__name__.replace("_", " ")


def put(items: tuple[T, ...], place: int, item: T) -> tuple[T, ...]:
    """`items` with another one at that place."""
    return (*items[:place], item, *items[place + 1 :])
