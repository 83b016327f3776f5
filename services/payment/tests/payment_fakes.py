"""Payments in memory, the same view of them and of Postgres, and a provider under control."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID, uuid4

from trackops_common.database import Database
from trackops_common.errors import BatchRefused, DependencyUnavailable
from trackops_common.idempotency import StoredRequest
from trackops_common.partitions import maintain_outbox, maintain_requests
from trackops_common.testing import InMemoryRequestStore, ManualClock
from trackops_payment.adapters.encoding import encode_movement, encode_payment
from trackops_payment.adapters.postgres import (
    PostgresPaymentReader,
    PostgresUnansweredPayments,
    PostgresUnitOfWorkFactory,
)
from trackops_payment.adapters.simulator import SimulatedProvider
from trackops_payment.adapters.simulator_books import Books
from trackops_payment.application.asking import PaymentOutcome
from trackops_payment.application.authorize_payments import AuthorizePayment, AuthorizePayments
from trackops_payment.application.free_of_charge import FreeOfCharge
from trackops_payment.application.get_payments import GetPayments
from trackops_payment.application.move_payments import MovePayment, MovePayments
from trackops_payment.application.ports import (
    AuthorizationAnswer,
    AuthorizationRequest,
    MovementAnswer,
    MovementRequest,
    PaymentReader,
    Unanswered,
    UnansweredPayments,
    UnitOfWorkFactory,
    VoidAnswer,
    VoidRequest,
)
from trackops_payment.application.sweep_payments import SweepPayments
from trackops_payment.application.void_payments import VoidPayment, VoidPayments
from trackops_payment.domain.events import PaymentEvent
from trackops_payment.domain.movement import Movement, MovementKey, MovementKind, MovementState
from trackops_payment.domain.payment import Payment, PaymentState, PaymentTerms

__all__ = ["Crash", "InMemoryTables", "ObservedProvider", "Payments", "PostgresTables"]

Q = TypeVar("Q")
A = TypeVar("A")


class Crash(Exception):
    """The process died here."""


class Tables(Protocol):
    """Where payments are kept, and what tests look at there."""

    @property
    def unit_of_work(self) -> UnitOfWorkFactory: ...
    @property
    def reader(self) -> PaymentReader: ...
    @property
    def unanswered(self) -> UnansweredPayments: ...

    def count(self) -> Mapping[str, int]:
        """Rows of each table."""
        ...

    def events(self) -> Sequence[tuple[str, str, int]]:
        """(name, order id, version) of what left with the commits, in their order."""
        ...


@dataclass
class _Tables:
    payments: dict[UUID, Payment] = field(default_factory=dict)
    movements: dict[MovementKey, Movement] = field(default_factory=dict)
    requests: dict[UUID, StoredRequest] = field(default_factory=dict)
    events: list[PaymentEvent] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)


class InMemoryTables:
    """Units of work run one after the other."""

    def __init__(self) -> None:
        self._tables = _Tables()
        self._lock = threading.Lock()

    @contextmanager
    def unit_of_work(self) -> Iterator[_UnitOfWork]:
        with self._lock:
            work = _UnitOfWork(deepcopy(self._tables))
            yield work
            if work.committed:
                self._tables = work.tables

    @property
    def reader(self) -> InMemoryTables:
        return self

    @property
    def unanswered(self) -> InMemoryTables:
        return self

    def get(self, order_ids: Sequence[UUID]) -> Mapping[UUID, tuple[Payment, Sequence[Movement]]]:
        found = _Payments(self._tables.payments).lock(order_ids)
        return {
            id_: (payment, [replace(m) for m in self._movements() if m.key.order_id == id_])
            for id_, payment in found.items()
        }

    def find(self, *, before: datetime, limit: int) -> Unanswered:
        payments = self._tables.payments.values()
        authorizing = [p for p in payments if p.state is PaymentState.AUTHORIZING]
        voiding = [p for p in payments if p.state is PaymentState.VOIDING]
        sent = [m for m in self._movements() if m.state is MovementState.SENT]
        return Unanswered(
            [replace(p) for p in authorizing if p.create_time < before][:limit],
            [replace(p) for p in voiding if p.update_time < before][:limit],
            [
                (replace(self._tables.payments[m.key.order_id]), replace(m))
                for m in sent
                if m.create_time < before
            ][:limit],
        )

    def _movements(self) -> Sequence[Movement]:
        return sorted(
            self._tables.movements.values(),
            key=lambda m: (m.create_time, m.key.kind, m.key.movement_id),
        )

    def count(self) -> Mapping[str, int]:
        return {
            "payments": len(self._tables.payments),
            "payment_movements": len(self._tables.movements),
            "requests": len(self._tables.requests),
            "outbox": len(self._tables.events),
        }

    def events(self) -> Sequence[tuple[str, str, int]]:
        return [
            (type(event).__name__, str(event.payment.order_id), event.payment.version)
            for event in self._tables.events
        ]


class _UnitOfWork:
    def __init__(self, tables: _Tables) -> None:
        self.tables = tables
        self.committed = False
        self.payments = _Payments(tables.payments)
        self.movements = _Movements(tables.movements)
        self.requests = InMemoryRequestStore(tables.requests)

    def commit(self, events: Sequence[PaymentEvent] = (), traces: Sequence[str] = ()) -> None:
        self.tables.events.extend(deepcopy(list(events)))
        self.tables.traces.extend(traces or [""] * len(events))
        self.committed = True


class _Payments:
    def __init__(self, rows: dict[UUID, Payment]) -> None:
        self._rows = rows

    def claim(self, proposed: Sequence[Payment]) -> Mapping[UUID, Payment]:
        ours = {p.order_id: p for p in proposed if p.order_id not in self._rows}
        standing = self.lock(p.order_id for p in proposed)
        self.save(list(ours.values()))
        return {**standing, **ours}

    def lock(self, order_ids: Iterable[UUID]) -> Mapping[UUID, Payment]:
        return {id_: replace(self._rows[id_]) for id_ in order_ids if id_ in self._rows}

    def save(self, payments: Sequence[Payment]) -> None:
        self._rows.update({p.order_id: replace(p) for p in payments})

    def withdraw(self, order_ids: Iterable[UUID]) -> None:
        for order_id in order_ids:
            del self._rows[order_id]


class _Movements:
    def __init__(self, rows: dict[MovementKey, Movement]) -> None:
        self._rows = rows

    def find(self, keys: Iterable[MovementKey]) -> Mapping[MovementKey, Movement]:
        return {key: replace(self._rows[key]) for key in keys if key in self._rows}

    def add(self, movements: Sequence[Movement]) -> None:
        for movement in movements:
            if movement.key in self._rows:
                raise BatchRefused(f"{movement.key} is stored already")
        self.save(movements)

    def save(self, movements: Sequence[Movement]) -> None:
        self._rows.update({m.key: replace(m) for m in movements})


class PostgresTables:
    """The service's own schema."""

    def __init__(self, database: Database) -> None:
        maintain_outbox(database)
        maintain_requests(database)
        self._database = database
        self.unit_of_work = PostgresUnitOfWorkFactory(database, events_topic="events")
        self.reader = PostgresPaymentReader(database)
        self.unanswered = PostgresUnansweredPayments(database)

    def count(self) -> Mapping[str, int]:
        return {
            table: self._database.fetch(f"SELECT count(*) FROM {table}")[0][0]
            for table in ("payments", "payment_movements", "requests", "outbox")
        }

    def events(self) -> Sequence[tuple[str, str, int]]:
        rows = self._database.fetch("SELECT type, key, aggregate_version FROM outbox ORDER BY seq")
        return [(row[0].rpartition(".")[2], row[1], row[2]) for row in rows]


class ObservedProvider:
    """The simulator, with failures on demand.

    `before` and `after` run once, around the next call; that is where a test
    puts what happens at the same time, or a crash. While `away`, a request does
    not reach the provider; while `answers_get_lost`, it does, and nobody hears.
    """

    def __init__(self) -> None:
        self.simulator = SimulatedProvider(sleep=lambda _: None)
        self.calls = 0
        self.away = False
        self.answers_get_lost = False
        self.before: Callable[[], object] | None = None
        self.after: Callable[[], object] | None = None

    @property
    def books(self) -> Books:
        return self.simulator.books

    @property
    def holds(self) -> int:
        """How often money was put on hold."""
        return len(self.books.done("authorize"))

    @property
    def held(self) -> set[str]:
        """The authorizations that were not voided."""
        held, voided = self.books.done("authorize"), self.books.done("void")
        return {e.authorization_id for e in held} - {e.authorization_id for e in voided}

    def authorize(self, requests: Sequence[AuthorizationRequest]) -> Sequence[AuthorizationAnswer]:
        return self._observed(self.simulator.authorize, requests)

    def capture(self, requests: Sequence[MovementRequest]) -> Sequence[MovementAnswer]:
        return self._observed(self.simulator.capture, requests)

    def void(self, requests: Sequence[VoidRequest]) -> Sequence[VoidAnswer]:
        return self._observed(self.simulator.void, requests)

    def refund(self, requests: Sequence[MovementRequest]) -> Sequence[MovementAnswer]:
        return self._observed(self.simulator.refund, requests)

    def _observed(
        self, ask: Callable[[Sequence[Q]], Sequence[A]], requests: Sequence[Q]
    ) -> Sequence[A | DependencyUnavailable]:
        self.calls += 1
        before, self.before = self.before, None
        if before:
            before()
        unheard = [DependencyUnavailable("the payment provider") for _ in requests]
        answers = unheard if self.away else ask(requests)
        after, self.after = self.after, None
        if after:
            after()
        return unheard if self.answers_get_lost else answers


class Payments:
    """The use cases on some tables, one command at a time or a batch.

    Every command gets a request id of its own unless it is told one.
    """

    def __init__(self, tables: Tables) -> None:
        clock, provider = ManualClock(), ObservedProvider()
        asked = FreeOfCharge(provider)
        self.tables = tables
        self.clock = clock
        self.provider = provider
        self.authorize_all = AuthorizePayments(tables.unit_of_work, asked, encode_payment, clock)
        self.void_all = VoidPayments(tables.unit_of_work, asked, encode_payment, clock)
        self.move_all = MovePayments(tables.unit_of_work, asked, encode_movement, clock)
        self.get_all = GetPayments(tables.reader, encode_payment)
        self.sweep = SweepPayments(
            tables.unanswered,
            self.authorize_all.ask_again,
            self.void_all.ask_again,
            self.move_all.ask_again,
            clock,
            after_seconds=60,
        )

    def authorize(
        self, order_id: UUID, *, request_id: str = "", amount: int = 500, token: str = "tok_visa"
    ) -> PaymentOutcome:
        command = self.authorization(order_id, request_id=request_id, amount=amount, token=token)
        return self.authorize_all([command])[0]

    def void(self, order_id: UUID, *, request_id: str = "") -> PaymentOutcome:
        return self.void_all([VoidPayment("me", request_id or str(uuid4()), order_id)])[0]

    def capture(self, order_id: UUID, amount: int, *, request_id: str = "") -> PaymentOutcome:
        return self._move(MovementKind.CAPTURE, order_id, amount, request_id)

    def refund(self, order_id: UUID, amount: int, *, request_id: str = "") -> PaymentOutcome:
        return self._move(MovementKind.REFUND, order_id, amount, request_id)

    def _move(
        self, kind: MovementKind, order_id: UUID, amount: int, request_id: str
    ) -> PaymentOutcome:
        command = MovePayment(kind, "me", request_id or str(uuid4()), order_id, amount)
        return self.move_all([command])[0]

    @staticmethod
    def authorization(
        order_id: UUID, *, request_id: str = "", amount: int = 500, token: str = "tok_visa"
    ) -> AuthorizePayment:
        terms = PaymentTerms(amount, "EUR", token)
        return AuthorizePayment("me", request_id or str(uuid4()), order_id, terms)

    def state(self, order_id: UUID) -> PaymentState:
        return self.stored(order_id)[0].state

    def stored(self, order_id: UUID) -> tuple[Payment, Sequence[Movement]]:
        """The payment as it is committed, with its movements."""
        return self.tables.reader.get([order_id])[order_id]
