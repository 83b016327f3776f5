"""All that the checker knows, as plain values: what was read, and from where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from trackops_payment.adapters.simulator_books import Entry

from ..history import History
from ..observer import Oddity

__all__ = [
    "CacheEntry",
    "Facts",
    "LogLine",
    "Movement",
    "OrderLine",
    "OrderRow",
    "OutboxRow",
    "Payment",
    "Record",
    "Reservation",
    "ReservedItem",
    "SagaRow",
    "Violation",
    "Violations",
    "Vitals",
]


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it must be."""

    invariant: str
    text: str
    order_id: str = ""
    """Empty where it is about no single order."""


Violations = Iterator[Violation]


@dataclass(frozen=True, slots=True)
class OrderLine:
    """A line of an order in Postgres."""

    quantity: int
    unit_price_minor: int
    shipped: int = 0
    returned: int = 0


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order in Postgres."""

    order_id: str
    request_id: str
    """Of the client that made it, from the order's metadata."""
    state: str
    version: int
    total_minor: int
    lines: Mapping[str, OrderLine]
    """By sku."""
    timeline: Mapping[int, str]
    """State by version, the first one included."""


@dataclass(frozen=True, slots=True)
class ReservedItem:
    """Pieces of a reservation."""

    quantity: int
    committed: int = 0
    restocked: int = 0


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation in Postgres."""

    state: str
    items: Mapping[str, ReservedItem]
    """By sku."""


@dataclass(frozen=True, slots=True)
class Movement:
    """A capture or a refund in Postgres."""

    kind: str
    state: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment in Postgres."""

    state: str
    amount_minor: int | None
    authorization_id: str | None
    captured_minor: int = 0
    refunded_minor: int = 0
    movements: Sequence[Movement] = ()


@dataclass(frozen=True, slots=True)
class SagaRow:
    """A saga in Postgres."""

    saga_id: str
    definition: str
    subject: str
    state: str
    failure_reason: str = ""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A row of an outbox, with what its payload says about pieces."""

    source: str
    seq: int
    event_id: str
    key: str
    name: str
    """The message's name without its package."""
    version: int
    items: Mapping[str, int] = field(default_factory=dict)
    """By sku; of an adjustment, the delta."""


@dataclass(frozen=True, slots=True)
class Record:
    """An event in Kafka, read committed."""

    topic: str
    partition: int
    offset: int
    source: str
    seq: int
    event_id: str
    key: str
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What Redis holds about an order and would answer; no `state`: a mark."""

    version: int
    state: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a service's log at level error or above."""

    process: str
    at: float
    """Seconds since 1970."""
    text: str


@dataclass(frozen=True, slots=True)
class Vitals:
    """A process at a moment."""

    process: str
    """Replica and pid."""
    at: float
    memory_mib: float
    connections: int


@dataclass(frozen=True)
class Facts:
    """One run's end."""

    history: History = field(default_factory=History)
    stocked: Mapping[str, int] = field(default_factory=dict)
    """Pieces put on hand in the beginning."""
    orders: Mapping[str, OrderRow] = field(default_factory=dict)
    stock: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """On hand and reserved, by sku."""
    reservations: Mapping[str, Reservation] = field(default_factory=dict)
    payments: Mapping[str, Payment] = field(default_factory=dict)
    ledger: Mapping[str, Entry] = field(default_factory=dict)
    """The provider's own, by idempotency key."""
    sagas: Sequence[SagaRow] = ()
    outbox: Sequence[OutboxRow] = ()
    """Of every source, each in the order of `seq`."""
    records: Sequence[Record] = ()
    """Partition by partition in the order of the log."""
    checkpoints: Mapping[str, int] = field(default_factory=dict)
    """The relay's last `seq` by source."""
    positions: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """Consumers' stored next offsets by topic and partition."""
    last_offsets: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """Of the last record that a read-committed reader sees, by topic and partition."""
    dead_letters: int = 0
    cache: Mapping[str, CacheEntry] = field(default_factory=dict)
    oddities: Sequence[Oddity] = ()
    errors: Sequence[LogLine] = ()
    """Outside of every fault's window."""
    leaks: Sequence[str] = ()
    """Secrets in logs: whose, and in which file."""
    deaths: Sequence[str] = ()
    """Processes that ended by themselves."""
    vitals: Sequence[Vitals] = ()
    confirm_times: Sequence[float] = ()
    """When orders were confirmed, in seconds since 1970, in their order."""
    clean_up_seconds: float = 0.0
    """From the end of the load until the mesh was at rest."""

    @cached_property
    def by_request(self) -> Mapping[str, Sequence[OrderRow]]:
        """Orders by the id of the request that made them."""
        found: dict[str, list[OrderRow]] = defaultdict(list)
        for order in self.orders.values():
            found[order.request_id].append(order)
        return found
