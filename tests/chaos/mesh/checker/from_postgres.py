"""What stands in Postgres, read as the superuser."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from trackops.inventory.v1 import inventory_events_pb2

from .facts import (
    Movement,
    OrderLine,
    OrderRow,
    OutboxRow,
    Payment,
    Reservation,
    ReservedItem,
    SagaRow,
)

__all__ = [
    "is_quiet",
    "read_confirm_times",
    "read_orders",
    "read_outboxes",
    "read_payments",
    "read_positions",
    "read_reservations",
    "read_sagas",
    "read_stock",
]

SOURCES = (
    "trackops_order",
    "trackops_inventory",
    "trackops_payment",
    "trackops_saga_orchestrator",
    "trackops_identity",
)

_QUIET = """
SELECT NOT EXISTS (SELECT FROM trackops_order.orders WHERE state IN ('PENDING', 'CANCELLING'))
   AND NOT EXISTS (SELECT FROM trackops_saga_orchestrator.sagas
                    WHERE state NOT IN ('COMPLETED', 'COMPENSATED', 'NEEDS_OPERATOR'))
   AND NOT EXISTS (SELECT FROM trackops_payment.payments
                    WHERE state IN ('AUTHORIZING', 'VOIDING'))
   AND NOT EXISTS (SELECT FROM trackops_payment.payment_movements WHERE state = 'SENT')
"""


def is_quiet(cursor: Any) -> bool:
    """Whether no row says that something is on its way."""
    return bool(_rows(cursor, _QUIET)[0][0])


def read_orders(cursor: Any) -> Mapping[str, OrderRow]:
    """By id."""
    lines: dict[str, dict[str, OrderLine]] = defaultdict(dict)
    for order_id, sku, *numbers in _rows(
        cursor,
        "SELECT order_id::text, sku, quantity, unit_price_minor, shipped_quantity,"
        " returned_quantity FROM trackops_order.order_lines",
    ):
        lines[order_id][sku] = OrderLine(*numbers)
    timelines: dict[str, dict[int, str]] = defaultdict(lambda: {1: "PENDING"})
    for order_id, version, state in _rows(
        cursor, "SELECT order_id::text, version, state FROM trackops_order.order_transitions"
    ):
        timelines[order_id][version] = state
    rows = _rows(
        cursor,
        "SELECT order_id::text, coalesce(details #>> '{metadata,request}', ''), state, version,"
        " total_minor FROM trackops_order.orders",
    )
    return {
        order_id: OrderRow(
            order_id, request_id, state, version, total, lines[order_id], timelines[order_id]
        )
        for order_id, request_id, state, version, total in rows
    }


def read_confirm_times(cursor: Any) -> Sequence[float]:
    """Seconds since 1970, in their order."""
    rows = _rows(
        cursor,
        "SELECT extract(epoch FROM enter_time)::float8 FROM trackops_order.order_transitions"
        " WHERE state = 'CONFIRMED' ORDER BY enter_time",
    )
    return [row[0] for row in rows]


def read_stock(cursor: Any) -> Mapping[str, tuple[int, int]]:
    """On hand and reserved, by sku."""
    rows = _rows(cursor, "SELECT sku, on_hand, reserved FROM trackops_inventory.stock")
    return {sku: (on_hand, reserved) for sku, on_hand, reserved in rows}


def read_reservations(cursor: Any) -> Mapping[str, Reservation]:
    """By order."""
    rows = _rows(cursor, "SELECT order_id::text, state, items FROM trackops_inventory.reservations")
    return {
        order_id: Reservation(state, {sku: ReservedItem(*numbers) for sku, *numbers in items})
        for order_id, state, items in rows
    }


def read_payments(cursor: Any) -> Mapping[str, Payment]:
    """By order."""
    movements: dict[str, list[Movement]] = defaultdict(list)
    for order_id, *movement in _rows(
        cursor,
        "SELECT order_id::text, kind, state, amount_minor FROM trackops_payment.payment_movements",
    ):
        movements[order_id].append(Movement(*movement))
    rows = _rows(
        cursor,
        "SELECT order_id::text, state, amount_minor, authorization_id, captured_minor,"
        " refunded_minor FROM trackops_payment.payments",
    )
    return {
        order_id: Payment(state, amount, authorization, taken, back, movements[order_id])
        for order_id, state, amount, authorization, taken, back in rows
    }


def read_sagas(cursor: Any) -> Sequence[SagaRow]:
    """All of them."""
    rows = _rows(
        cursor,
        "SELECT saga_id::text, definition, subject, state, coalesce(failure_reason, '')"
        " FROM trackops_saga_orchestrator.sagas",
    )
    return [SagaRow(*row) for row in rows]


def read_positions(cursor: Any) -> Mapping[tuple[str, int], int]:
    """Stored next offsets by topic and partition; of several consumers, the one farthest back."""
    rows = _rows(
        cursor,
        "SELECT topic, partition, min(next_offset)"
        " FROM trackops_saga_orchestrator.consumer_offsets GROUP BY topic, partition",
    )
    return {(topic, partition): next_offset for topic, partition, next_offset in rows}


def read_outboxes(cursor: Any) -> Sequence[OutboxRow]:
    """Of every source, each in the order of `seq`."""
    found: list[OutboxRow] = []
    for source in SOURCES:
        for seq, event_id, key, type_, version, payload in _rows(
            cursor,
            "SELECT seq, event_id::text, key, type, aggregate_version, payload"
            f" FROM {source}.outbox ORDER BY seq",
        ):
            name = type_.rpartition(".")[2]
            items = _items(name, bytes(payload)) if source == "trackops_inventory" else {}
            found.append(OutboxRow(source, seq, event_id, key, name, version, items))
    return found


def _items(name: str, payload: bytes) -> Mapping[str, int]:
    message = getattr(inventory_events_pb2, name).FromString(payload)
    if name == "StockAdjusted":
        return {message.sku: message.delta}
    return {item.sku: item.quantity for item in message.items}


def _rows(cursor: Any, sql: str) -> Sequence[Any]:
    cursor.execute(sql)
    rows: Sequence[Any] = cursor.fetchall()
    return rows
