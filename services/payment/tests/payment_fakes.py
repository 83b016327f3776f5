"""Payments in memory, the same view of them and of Postgres, and a provider under control."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar
from uuid import UUID, uuid4

from trackops_common.database import Database
from trackops_common.errors import DependencyUnavailable
from trackops_common.idempotency import StoredRequest
from trackops_common.partitions import maintain_outbox, maintain_requests
from trackops_common.testing import InMemoryRequestStore, ManualClock
from trackops_payment.adapters.encoding import encode_payment
from trackops_payment.adapters.postgres import PostgresPaymentReader, PostgresUnitOfWorkFactory
from trackops_payment.adapters.simulator import SimulatedProvider
from trackops_payment.application.asking import PaymentOutcome
from trackops_payment.application.authorize_payments import AuthorizePayment, AuthorizePayments
from trackops_payment.application.ports import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Authorized,
    PaymentProvider,
    PaymentReader,
    UnitOfWorkFactory,
    VoidAnswer,
    VoidRequest,
)
from trackops_payment.application.void_payments import VoidPayment, VoidPayments
from trackops_payment.domain.events import PaymentEvent
from trackops_payment.domain.payment import Payment, PaymentState, PaymentTerms

__all__ = ["Crash", "InMemoryTables", "ObservedProvider", "Payments", "PostgresTables"]

A = TypeVar("A")


class Crash(Exception):
    """The process died here."""


class Tables(Protocol):
    """Where payments are kept, and what tests look at there."""

    @property
    def unit_of_work(self) -> UnitOfWorkFactory: ...
    @property
    def reader(self) -> PaymentReader: ...

    def count(self) -> Mapping[str, int]:
        """Rows of each table."""
        ...

    def events(self) -> Sequence[tuple[str, str, int]]:
        """(name, order id, version) of what left with the commits, in their order."""
        ...


@dataclass
class _Tables:
    payments: dict[UUID, Payment] = field(default_factory=dict)
    requests: dict[UUID, StoredRequest] = field(default_factory=dict)
    events: list[PaymentEvent] = field(default_factory=list)


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

    def get(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Payment]:
        return _Payments(self._tables.payments).lock(order_ids)

    def count(self) -> Mapping[str, int]:
        return {
            "payments": len(self._tables.payments),
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
        self.requests = InMemoryRequestStore(tables.requests)

    def commit(self, events: Sequence[PaymentEvent] = ()) -> None:
        self.tables.events.extend(deepcopy(list(events)))
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


class PostgresTables:
    """The service's own schema."""

    def __init__(self, database: Database) -> None:
        maintain_outbox(database)
        maintain_requests(database)
        self._database = database
        self.unit_of_work = PostgresUnitOfWorkFactory(database, events_topic="events")
        self.reader = PostgresPaymentReader(database)

    def count(self) -> Mapping[str, int]:
        return {
            table: self._database.fetch(f"SELECT count(*) FROM {table}")[0][0]
            for table in ("payments", "requests", "outbox")
        }

    def events(self) -> Sequence[tuple[str, str, int]]:
        rows = self._database.fetch("SELECT type, key, aggregate_version FROM outbox ORDER BY seq")
        return [(row[0].rpartition(".")[2], row[1], row[2]) for row in rows]


class ObservedProvider:
    """A provider with a memory: what it holds, and how often it put money on hold.

    `before` and `after` run once, around the next call; that is where a test
    puts what happens at the same time, or a crash. While `away`, a request does
    not reach the provider; while `answers_get_lost`, it does, and nobody hears.
    """

    def __init__(self, provider: PaymentProvider | None = None) -> None:
        self._provider = provider or SimulatedProvider()
        self._answers: dict[str, AuthorizationAnswer] = {}
        self._lock = threading.Lock()
        self.held: set[str] = set()
        self.holds = 0
        self.calls = 0
        self.away = False
        self.answers_get_lost = False
        self.before: Callable[[], object] | None = None
        self.after: Callable[[], object] | None = None

    def authorize(self, requests: Sequence[AuthorizationRequest]) -> Sequence[AuthorizationAnswer]:
        with self._observed():
            return [self._authorize(request) for request in requests]

    def void(self, requests: Sequence[VoidRequest]) -> Sequence[VoidAnswer]:
        with self._observed():
            if self.away:
                return [DependencyUnavailable("the payment provider") for _ in requests]
            with self._lock:
                self.held -= {request.authorization_id for request in requests}
            answers = self._provider.void(requests)
            return [self._unless_lost(answer) for answer in answers]

    @contextmanager
    def _observed(self) -> Iterator[None]:
        self.calls += 1
        before, self.before = self.before, None
        if before:
            before()
        yield
        after, self.after = self.after, None
        if after:
            after()

    def _authorize(self, request: AuthorizationRequest) -> AuthorizationAnswer:
        if self.away:
            return DependencyUnavailable("the payment provider")
        with self._lock:
            answer = self._answers.get(request.idempotency_key) or self._first(request)
        return self._unless_lost(answer)

    def _unless_lost(self, answer: A) -> A | DependencyUnavailable:
        return DependencyUnavailable("the payment provider") if self.answers_get_lost else answer

    def _first(self, request: AuthorizationRequest) -> AuthorizationAnswer:
        answer = self._provider.authorize([request])[0]
        if isinstance(answer, Authorized):
            self.held.add(answer.authorization_id)
            self.holds += 1
        self._answers[request.idempotency_key] = answer
        return answer


class Payments:
    """The use cases on some tables, one command at a time or a batch.

    Every command gets a request id of its own unless it is told one.
    """

    def __init__(self, tables: Tables) -> None:
        clock, provider = ManualClock(), ObservedProvider()
        self.tables = tables
        self.clock = clock
        self.provider = provider
        self.authorize_all = AuthorizePayments(tables.unit_of_work, provider, encode_payment, clock)
        self.void_all = VoidPayments(tables.unit_of_work, provider, encode_payment, clock)

    def authorize(
        self, order_id: UUID, *, request_id: str = "", amount: int = 500, token: str = "tok_visa"
    ) -> PaymentOutcome:
        command = self.authorization(order_id, request_id=request_id, amount=amount, token=token)
        return self.authorize_all([command])[0]

    def void(self, order_id: UUID, *, request_id: str = "") -> PaymentOutcome:
        return self.void_all([VoidPayment("me", request_id or str(uuid4()), order_id)])[0]

    @staticmethod
    def authorization(
        order_id: UUID, *, request_id: str = "", amount: int = 500, token: str = "tok_visa"
    ) -> AuthorizePayment:
        terms = PaymentTerms(amount, "EUR", token)
        return AuthorizePayment("me", request_id or str(uuid4()), order_id, terms)

    def state(self, order_id: UUID) -> PaymentState:
        return self.tables.reader.get([order_id])[order_id].state
