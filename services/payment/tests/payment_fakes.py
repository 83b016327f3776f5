"""Payments in memory and a provider under control, for tests of the use cases.

Both pass the suites of the real things.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from uuid import UUID

from trackops_common.errors import DependencyUnavailable
from trackops_common.idempotency import StoredRequest
from trackops_common.testing import InMemoryRequestStore
from trackops_payment.application.ports import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Authorized,
    PaymentProvider,
    VoidAnswer,
    VoidRequest,
)
from trackops_payment.domain.events import PaymentEvent
from trackops_payment.domain.payment import Payment

__all__ = ["InMemoryPayments", "ObservedProvider"]


@dataclass
class _Tables:
    payments: dict[UUID, Payment] = field(default_factory=dict)
    requests: dict[UUID, StoredRequest] = field(default_factory=dict)
    events: list[PaymentEvent] = field(default_factory=list)


class InMemoryPayments:
    """A `UnitOfWorkFactory` and a `PaymentReader`; units of work run one after the other."""

    def __init__(self) -> None:
        self._tables = _Tables()
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[_UnitOfWork]:
        with self._lock:
            work = _UnitOfWork(deepcopy(self._tables))
            yield work
            if work.committed:
                self._tables = work.tables

    def get(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Payment]:
        return _Payments(self._tables.payments).lock(order_ids)

    @property
    def events(self) -> Sequence[PaymentEvent]:
        """What left with the commits, in their order."""
        return list(self._tables.events)


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


class ObservedProvider:
    """Another provider, with its memory: what it holds, and how often it was asked.

    `before` and `after` are called around each call that it answers, which is
    where a test puts what happens at the same time. While `away`, a request
    does not reach it; while `answers_get_lost`, it does, and nobody hears.
    """

    def __init__(self, provider: PaymentProvider) -> None:
        self._provider = provider
        self._answers: dict[str, AuthorizationAnswer] = {}
        self._lock = threading.Lock()
        self.held: set[str] = set()
        """Authorization ids under which money is held."""
        self.holds = 0
        """How often money was put on hold."""
        self.asked = 0
        """Requests that arrived."""
        self.away = False
        self.answers_get_lost = False
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def authorize(self, requests: Sequence[AuthorizationRequest]) -> Sequence[AuthorizationAnswer]:
        self.before()
        answers = [self._authorize(request) for request in requests]
        self.after()
        return answers

    def void(self, requests: Sequence[VoidRequest]) -> Sequence[VoidAnswer]:
        if self.away:
            return [DependencyUnavailable("the payment provider") for _ in requests]
        with self._lock:
            self.asked += len(requests)
            self.held -= {request.authorization_id for request in requests}
        return self._provider.void(requests)

    def _authorize(self, request: AuthorizationRequest) -> AuthorizationAnswer:
        if self.away:
            return DependencyUnavailable("the payment provider")
        with self._lock:
            self.asked += 1
            answer = self._answers.get(request.idempotency_key) or self._first(request)
        return DependencyUnavailable("the payment provider") if self.answers_get_lost else answer

    def _first(self, request: AuthorizationRequest) -> AuthorizationAnswer:
        answer = self._provider.authorize([request])[0]
        if isinstance(answer, Authorized):
            self.held.add(answer.authorization_id)
            self.holds += 1
        self._answers[request.idempotency_key] = answer
        return answer
