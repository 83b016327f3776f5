"""The payments in Postgres, read and written as sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from trackops_common import arrays
from trackops_common.database import Database, Transaction
from trackops_common.request_store import PostgresRequestStore
from trackops_payment.adapters.encoding import outbox_event
from trackops_payment.adapters.movements import (
    MOVEMENT_COLUMNS,
    PostgresMovementRepository,
    movement_of,
)
from trackops_payment.application.ports import Unanswered
from trackops_payment.domain.events import PaymentEvent
from trackops_payment.domain.movement import Movement
from trackops_payment.domain.payment import NOTHING_MOVED, Payment, PaymentSums, PaymentTerms

__all__ = [
    "PostgresPaymentReader",
    "PostgresUnansweredPayments",
    "PostgresUnitOfWork",
    "PostgresUnitOfWorkFactory",
]

_INSERT_PAYMENTS = """
INSERT INTO payments (order_id, state, amount_minor, currency_code, payment_method_token, version,
                      create_time, update_time)
SELECT order_id, state, amount_minor, currency_code, payment_method_token, version, create_time,
       create_time
  FROM unnest(%(order_ids)s::uuid[], %(states)s::text[], %(amounts)s::bigint[],
              %(currency_codes)s::text[], %(tokens)s::text[], %(versions)s::bigint[],
              %(create_times)s::timestamptz[])
       AS new(order_id, state, amount_minor, currency_code, payment_method_token, version,
              create_time)
 ORDER BY order_id
    ON CONFLICT (order_id) DO NOTHING
RETURNING order_id
"""

_PAYMENT = """
       payment.order_id, payment.state, payment.amount_minor, payment.currency_code,
       payment.payment_method_token, payment.authorization_id, payment.decline_code,
       payment.version, payment.create_time, payment.update_time, payment.capturing_minor,
       payment.captured_minor, payment.refunding_minor, payment.refunded_minor"""
_WIDTH = _PAYMENT.count("payment.")

_LOCK_PAYMENTS = f"""
SELECT {_PAYMENT}
  FROM payments AS payment
 WHERE order_id = ANY(%(order_ids)s::uuid[])
 ORDER BY order_id
   FOR UPDATE
"""  # noqa: S608 - of constants alone

_SELECT_PAYMENTS = f"""
SELECT {_PAYMENT}, {MOVEMENT_COLUMNS}
  FROM payments AS payment
  LEFT JOIN payment_movements AS movement USING (order_id)
 WHERE payment.order_id = ANY(%(order_ids)s::uuid[])
 ORDER BY movement.create_time, movement.kind, movement.movement_id
"""  # noqa: S608 - of constants alone

_MARK_AUTHORIZING = """
UPDATE payments SET unanswered_since = payments.create_time
  FROM (SELECT order_id FROM payments
         WHERE create_time >= (SELECT marked_until FROM payment_sweep)
           AND create_time < %(before)s AND state = 'AUTHORIZING' AND unanswered_since IS NULL
           FOR UPDATE SKIP LOCKED) AS unanswered
 WHERE payments.order_id = unanswered.order_id
"""

_MARKED = """
UPDATE payment_sweep
   SET marked_until = greatest(marked_until, %(before)s::timestamptz - interval '5 minutes')
"""
"""The minutes are for clocks that are behind, and for rows that were locked or not committed."""

_UNANSWERED = f"""
SELECT {_PAYMENT}
  FROM payments AS payment
 WHERE unanswered_since < %(before)s AND state = %(state)s
 ORDER BY random()
 LIMIT %(limit)s
"""  # noqa: S608 - of constants alone

_SENT = f"""
SELECT {_PAYMENT}, {MOVEMENT_COLUMNS}
  FROM payment_movements AS movement
  JOIN payments AS payment USING (order_id)
 WHERE movement.create_time < %(before)s AND movement.state = 'SENT'
 ORDER BY random()
 LIMIT %(limit)s
"""  # noqa: S608 - of constants alone

_SAVE_PAYMENTS = """
UPDATE payments
   SET state = changed.state, authorization_id = changed.authorization_id,
       decline_code = changed.decline_code, version = changed.version,
       update_time = changed.update_time, capturing_minor = changed.capturing_minor,
       captured_minor = changed.captured_minor, refunding_minor = changed.refunding_minor,
       refunded_minor = changed.refunded_minor,
       unanswered_since = CASE changed.state WHEN 'VOIDING' THEN changed.update_time END
  FROM unnest(%(order_ids)s::uuid[], %(states)s::text[], %(authorization_ids)s::text[],
              %(decline_codes)s::text[], %(versions)s::bigint[], %(update_times)s::timestamptz[],
              %(capturing)s::bigint[], %(captured)s::bigint[], %(refunding)s::bigint[],
              %(refunded)s::bigint[])
       AS changed(order_id, state, authorization_id, decline_code, version, update_time,
                  capturing_minor, captured_minor, refunding_minor, refunded_minor)
 WHERE payments.order_id = changed.order_id
"""


class PostgresPaymentRepository:
    """A `PaymentRepository` within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def claim(self, proposed: Sequence[Payment]) -> Mapping[UUID, Payment]:
        rows = self._transaction.execute(_INSERT_PAYMENTS, _new_columns(proposed))
        new = {row[0] for row in rows}
        ours = {p.order_id: p for p in proposed if p.order_id in new}
        others = [p.order_id for p in proposed if p.order_id not in new]
        return {**ours, **self.lock(others)}

    def lock(self, order_ids: Iterable[UUID]) -> Mapping[UUID, Payment]:
        wanted = list(order_ids)
        if not wanted:
            return {}
        bound = {"order_ids": arrays.uuids(wanted)}
        rows = self._transaction.execute(_LOCK_PAYMENTS, bound)
        return {row[0]: _payment(*row) for row in rows}

    def save(self, payments: Sequence[Payment]) -> None:
        if payments:
            self._transaction.execute(_SAVE_PAYMENTS, _state_columns(payments))

    def withdraw(self, order_ids: Iterable[UUID]) -> None:
        if unwanted := list(order_ids):
            self._transaction.execute(
                "DELETE FROM payments WHERE order_id = ANY(%(order_ids)s::uuid[])",
                {"order_ids": arrays.uuids(unwanted)},
            )


class PostgresUnitOfWork:
    """One transaction on the payment service's schema."""

    def __init__(self, transaction: Transaction, *, events_topic: str) -> None:
        self.payments = PostgresPaymentRepository(transaction)
        self.movements = PostgresMovementRepository(transaction)
        self.requests = PostgresRequestStore(transaction)
        self._transaction = transaction
        self._events_topic = events_topic

    def commit(self, events: Sequence[PaymentEvent] = (), traces: Sequence[str] = ()) -> None:
        self._transaction.commit(
            [
                outbox_event(event, topic=self._events_topic, traceparent=trace)
                for event, trace in zip(events, traces or [""] * len(events), strict=True)
            ]
        )


class PostgresUnitOfWorkFactory:
    """Opens units of work on `database`; events go to `events_topic`."""

    def __init__(self, database: Database, *, events_topic: str) -> None:
        self._database = database
        self._events_topic = events_topic

    @contextmanager
    def __call__(self) -> Iterator[PostgresUnitOfWork]:
        with self._database.transaction() as transaction:
            yield PostgresUnitOfWork(transaction, events_topic=self._events_topic)


class PostgresPaymentReader:
    """A `PaymentReader` on committed rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, order_ids: Sequence[UUID]) -> Mapping[UUID, tuple[Payment, Sequence[Movement]]]:
        bound = {"order_ids": arrays.uuids(order_ids)}
        found: dict[UUID, tuple[Payment, list[Movement]]] = {}
        for row in self._database.fetch(_SELECT_PAYMENTS, bound):
            _, movements = found.setdefault(row[0], (_payment(*row[:_WIDTH]), []))
            if row[_WIDTH] is not None:
                movements.append(movement_of(*row[_WIDTH:]))
        return found


class PostgresUnansweredPayments:
    """An `UnansweredPayments` on committed rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, *, before: datetime, limit: int) -> Unanswered:
        bound = {"before": before, "limit": limit}
        with self._database.transaction() as transaction:
            transaction.execute(_MARK_AUTHORIZING, bound)
            transaction.execute(_MARKED, bound)
            transaction.commit()
        fetch = self._database.fetch
        return Unanswered(
            [_payment(*row) for row in fetch(_UNANSWERED, bound | {"state": "AUTHORIZING"})],
            [_payment(*row) for row in fetch(_UNANSWERED, bound | {"state": "VOIDING"})],
            [(_payment(*row[:_WIDTH]), movement_of(*row[_WIDTH:])) for row in fetch(_SENT, bound)],
        )


def _new_columns(payments: Sequence[Payment]) -> Mapping[str, Any]:
    terms = [payment.terms for payment in payments]
    return {
        "order_ids": arrays.uuids(p.order_id for p in payments),
        "states": arrays.texts(p.state for p in payments),
        "amounts": arrays.integers(t.amount_minor if t else None for t in terms),
        "currency_codes": arrays.texts(t.currency_code if t else None for t in terms),
        "tokens": arrays.texts(t.payment_method_token if t else None for t in terms),
        "versions": arrays.integers(p.version for p in payments),
        "create_times": arrays.timestamps(p.create_time for p in payments),
    }


def _state_columns(payments: Sequence[Payment]) -> Mapping[str, Any]:
    return {
        "order_ids": arrays.uuids(p.order_id for p in payments),
        "states": arrays.texts(p.state for p in payments),
        "authorization_ids": arrays.texts(p.authorization_id for p in payments),
        "decline_codes": arrays.texts(p.decline_code for p in payments),
        "versions": arrays.integers(p.version for p in payments),
        "update_times": arrays.timestamps(p.update_time for p in payments),
        "capturing": arrays.integers(p.sums.capturing_minor for p in payments),
        "captured": arrays.integers(p.sums.captured_minor for p in payments),
        "refunding": arrays.integers(p.sums.refunding_minor for p in payments),
        "refunded": arrays.integers(p.sums.refunded_minor for p in payments),
    }


def _payment(
    order_id: UUID,
    state: str,
    amount_minor: int | None,
    currency_code: str | None,
    payment_method_token: str | None,
    authorization_id: str | None,
    decline_code: str | None,
    version: int,
    create_time: datetime,
    update_time: datetime,
    *sums: int,
) -> Payment:
    return Payment.rehydrate(
        order_id=order_id,
        state=state,
        terms=_terms(amount_minor, currency_code, payment_method_token),
        authorization_id=authorization_id,
        decline_code=decline_code,
        version=version,
        create_time=create_time,
        update_time=update_time,
        sums=PaymentSums(*sums) if any(sums) else NOTHING_MOVED,
    )


def _terms(
    amount_minor: int | None, currency_code: str | None, payment_method_token: str | None
) -> PaymentTerms | None:
    if amount_minor is None or currency_code is None or payment_method_token is None:
        return None
    return PaymentTerms(amount_minor, currency_code, payment_method_token)
