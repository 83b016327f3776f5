"""The orders in Postgres, read and written as sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from trackops_common import arrays
from trackops_common.database import Database, Rows, Transaction
from trackops_common.request_store import PostgresRequestStore
from trackops_order.adapters.details import details_document, details_of
from trackops_order.adapters.encoding import outbox_event
from trackops_order.adapters.movements import goods_return, save_movements, shipment
from trackops_order.application.ports import TimelineEntry
from trackops_order.domain.events import OrderEvent, reason_of
from trackops_order.domain.goods import OrderLine
from trackops_order.domain.order import Order, Rejection
from trackops_order.domain.states import OrderState

__all__ = [
    "SELECT_BRIEF_ORDERS",
    "PostgresOrderReader",
    "PostgresUnitOfWork",
    "PostgresUnitOfWorkFactory",
    "orders_of",
]

_INSERT_ORDERS = """
INSERT INTO orders (order_id, customer_id, state, currency_code, total_minor, version,
                    create_time, update_time, details)
SELECT order_id, customer_id, 'PENDING', currency_code, total_minor, 1, create_time, create_time,
       details
  FROM unnest(%(order_ids)s::uuid[], %(customer_ids)s::text[], %(currency_codes)s::text[],
              %(totals)s::bigint[], %(create_times)s::timestamptz[], %(details)s::jsonb[])
       AS new(order_id, customer_id, currency_code, total_minor, create_time, details)
 ORDER BY order_id
    ON CONFLICT (order_id) DO NOTHING
RETURNING order_id
"""

_INSERT_LINES = """
INSERT INTO order_lines (order_id, line_number, sku, quantity, unit_price_minor, create_time)
SELECT * FROM unnest(%(order_ids)s::uuid[], %(line_numbers)s::smallint[], %(skus)s::text[],
                     %(quantities)s::int[], %(unit_prices)s::bigint[],
                     %(create_times)s::timestamptz[])
"""

_SELECT_ORDERS = """
SELECT order_id, customer_id, state, currency_code, total_minor, version, create_time,
       update_time, rejection_reason, rejection_message, cancellation_reason, {details},
       (SELECT json_agg(json_build_array(sku, quantity, unit_price_minor, shipped_quantity,
                                         returned_quantity) ORDER BY line_number)
          FROM order_lines WHERE order_lines.order_id = orders.order_id)
  FROM orders
"""

SELECT_BRIEF_ORDERS = _SELECT_ORDERS.format(details="NULL")
"""Without details. To be followed by conditions; `orders_of` reads its rows."""

_GET_ORDERS = (
    f"{_SELECT_ORDERS.format(details='details')} WHERE order_id = ANY(%(order_ids)s::uuid[])"
)

# Read after the lock, by a statement of its own: one that waited for the lock would see the order
# as it is now beside its lines as they were before.
_LOCK_ORDERS = f"""
SELECT FROM orders WHERE order_id = ANY(%(order_ids)s::uuid[]) ORDER BY order_id FOR UPDATE;
{_GET_ORDERS}
"""

_SAVE_ORDERS = """
WITH changed AS (
    SELECT * FROM unnest(%(order_ids)s::uuid[], %(states)s::text[], %(versions)s::bigint[],
                         %(update_times)s::timestamptz[], %(reasons)s::text[],
                         %(messages)s::text[], %(cancellation_reasons)s::text[],
                         %(entry_reasons)s::text[])
           AS changed(order_id, state, version, update_time, reason, message,
                      cancellation_reason, entry_reason)
), entered AS (
    INSERT INTO order_transitions (order_id, version, state, enter_time, rejection_reason,
                                   rejection_message, reason)
    SELECT order_id, version, state, update_time, reason, message, entry_reason FROM changed
)
UPDATE orders
   SET state = changed.state, version = changed.version, update_time = changed.update_time,
       rejection_reason = changed.reason, rejection_message = changed.message,
       cancellation_reason = changed.cancellation_reason
  FROM (SELECT DISTINCT ON (order_id) * FROM changed ORDER BY order_id, version DESC) AS changed
 WHERE orders.order_id = changed.order_id
"""

_SELECT_TIMELINES = """
WITH entries AS (
    SELECT order_id, 1 AS version, 'PENDING' AS state, create_time AS enter_time,
           NULL AS rejection_reason, NULL AS rejection_message, '' AS reason
      FROM orders WHERE order_id = ANY(%(order_ids)s::uuid[])
     UNION ALL
    SELECT order_id, version, state, enter_time, rejection_reason, rejection_message, reason
      FROM order_transitions WHERE order_id = ANY(%(order_ids)s::uuid[])
)
SELECT entries.*,
       (SELECT json_build_array(shipment_id, carrier, tracking_number,
               (SELECT json_agg(json_build_array(sku, moved.quantity) ORDER BY line_number)
                  FROM order_shipment_lines AS moved JOIN order_lines USING (order_id, line_number)
                 WHERE moved.order_id = made.order_id AND moved.version = made.version))
          FROM order_shipments AS made
         WHERE made.order_id = entries.order_id AND made.version = entries.version),
       (SELECT json_build_array(return_id, reason,
               (SELECT json_agg(json_build_array(sku, moved.quantity, refund_minor)
                                ORDER BY line_number)
                  FROM order_return_lines AS moved JOIN order_lines USING (order_id, line_number)
                 WHERE moved.order_id = made.order_id AND moved.version = made.version))
          FROM order_returns AS made
         WHERE made.order_id = entries.order_id AND made.version = entries.version)
  FROM entries
 ORDER BY order_id, version
"""


class PostgresOrderRepository:
    """An `OrderRepository` within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, orders: Sequence[Order]) -> set[UUID]:
        if not orders:
            return set()
        rows = self._transaction.execute(_INSERT_ORDERS, _order_columns(orders))
        added = {row[0] for row in rows}
        lines = [
            (order, number, line)
            for order in orders
            if order.order_id in added
            for number, line in enumerate(order.lines, start=1)
        ]
        if lines:
            self._transaction.execute(_INSERT_LINES, _line_columns(lines))
        return added

    def lock(self, order_ids: Iterable[UUID]) -> Mapping[UUID, Order]:
        ids = {"order_ids": arrays.uuids(order_ids)}
        return orders_of(self._transaction.execute(_LOCK_ORDERS, ids))

    def save(self, events: Sequence[OrderEvent]) -> None:
        if not events:
            return
        orders = [event.order for event in events]
        self._transaction.execute(
            _SAVE_ORDERS,
            {
                "order_ids": arrays.uuids(order.order_id for order in orders),
                "states": arrays.texts(order.state for order in orders),
                "versions": arrays.integers(order.version for order in orders),
                "update_times": arrays.timestamps(order.update_time for order in orders),
                "reasons": arrays.texts(
                    o.rejection.reason if o.rejection else None for o in orders
                ),
                "messages": arrays.texts(
                    o.rejection.message if o.rejection else None for o in orders
                ),
                "cancellation_reasons": arrays.texts(o.cancellation_reason for o in orders),
                "entry_reasons": arrays.texts(map(reason_of, events)),
            },
        )
        save_movements(self._transaction, events)


class PostgresUnitOfWork:
    """One transaction on the order service's schema."""

    def __init__(self, transaction: Transaction, *, events_topic: str) -> None:
        self.orders = PostgresOrderRepository(transaction)
        self.requests = PostgresRequestStore(transaction)
        self._transaction = transaction
        self._events_topic = events_topic

    def commit(self, events: Sequence[OrderEvent], traces: Sequence[str] = ()) -> None:
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


class PostgresOrderReader:
    """An `OrderReader` on committed rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Order]:
        return orders_of(self._database.fetch(_GET_ORDERS, {"order_ids": arrays.uuids(order_ids)}))

    def timelines(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[TimelineEntry]]:
        rows = self._database.fetch(_SELECT_TIMELINES, {"order_ids": arrays.uuids(order_ids)})
        timelines: dict[UUID, list[TimelineEntry]] = {}
        for order_id, *columns in rows:
            timelines.setdefault(order_id, []).append(_timeline_entry(*columns))
        return timelines


def _order_columns(orders: Sequence[Order]) -> Mapping[str, Any]:
    return {
        "order_ids": arrays.uuids(order.order_id for order in orders),
        "customer_ids": arrays.texts(order.customer_id for order in orders),
        "currency_codes": arrays.texts(order.currency_code for order in orders),
        "totals": arrays.integers(order.total_minor for order in orders),
        "create_times": arrays.timestamps(order.create_time for order in orders),
        "details": arrays.texts(details_document(order.details) for order in orders),
    }


def _line_columns(lines: Sequence[tuple[Order, int, OrderLine]]) -> Mapping[str, Any]:
    return {
        "order_ids": arrays.uuids(order.order_id for order, _, _ in lines),
        "line_numbers": arrays.integers(number for _, number, _ in lines),
        "skus": arrays.texts(line.sku for _, _, line in lines),
        "quantities": arrays.integers(line.quantity for _, _, line in lines),
        "unit_prices": arrays.integers(line.unit_price_minor for _, _, line in lines),
        "create_times": arrays.timestamps(order.create_time for order, _, _ in lines),
    }


def orders_of(rows: Rows) -> Mapping[UUID, Order]:
    """The orders in rows of `SELECT_ORDERS`, in their order."""
    return {row[0]: _order(*row) for row in rows}


def _order(
    order_id: UUID,
    customer_id: str,
    state: str,
    currency_code: str,
    total_minor: int,
    version: int,
    create_time: Any,
    update_time: Any,
    reason: str | None,
    message: str | None,
    cancellation_reason: str,
    details: Mapping[str, Any] | None,
    lines: Sequence[tuple[str, int, int, int, int]],
) -> Order:
    return Order.rehydrate(
        order_id=order_id,
        customer_id=customer_id,
        state=state,
        lines=[OrderLine(*line) for line in lines],
        currency_code=currency_code,
        total_minor=total_minor,
        version=version,
        create_time=create_time,
        update_time=update_time,
        rejection=_rejection(reason, message),
        cancellation_reason=cancellation_reason,
        details=details_of(details),
    )


def _timeline_entry(
    version: int,
    state: str,
    enter_time: Any,
    rejection_reason: str | None,
    rejection_message: str | None,
    reason: str,
    shipped: Sequence[Any] | None,
    returned: Sequence[Any] | None,
) -> TimelineEntry:
    return TimelineEntry(
        version,
        OrderState(state),
        enter_time,
        _rejection(rejection_reason, rejection_message),
        shipment(shipped),
        goods_return(returned),
        reason,
    )


def _rejection(reason: str | None, message: str | None) -> Rejection | None:
    return None if reason is None else Rejection(reason, message or "")
