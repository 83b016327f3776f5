"""Orders for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table
from trackops.order.v1.order_pb2 import Order, OrderState
from trackops.order.v1.order_service_pb2 import TimelineEntry, WatchOrderResponse

from trackops_cli.calls import shown_time
from trackops_cli.terminal import OUT, print_wide

__all__ = ["print_change", "print_order", "print_orders", "state_name", "why"]


def state_name(state: OrderState.ValueType) -> str:
    """CONFIRMED and the like."""
    return OrderState.Name(state).removeprefix("ORDER_STATE_")


def why(entry: TimelineEntry) -> str:
    """What is to be said about a change; empty where it speaks for itself."""
    words = []
    if entry.HasField("rejection"):
        words.append(f"{entry.rejection.reason}: {entry.rejection.message}")
    if entry.HasField("shipment"):
        moved = ", ".join(f"{one.quantity} {one.sku}" for one in entry.shipment.lines)
        words.append(f"{moved} by {entry.shipment.carrier} {entry.shipment.tracking_number}")
    if entry.HasField("goods_return"):
        back = entry.goods_return
        moved = ", ".join(f"{one.quantity} {one.sku}" for one in back.lines)
        words.append(f"{moved} back: {back.reason}; {back.refund_minor} minor units to refund")
    return "; ".join([*words, *([entry.reason] if entry.reason else [])])


def print_order(order: Order) -> None:
    """The order and its lines."""
    _line(f"order {order.order_id}: {state_name(order.state)}, version {order.version}")
    reason = order.cancellation_reason
    if order.HasField("rejection"):
        reason = f"{order.rejection.reason}: {order.rejection.message}"
    if reason:
        _line(f"because: {reason}")
    refunded = f", {order.refunded_minor} refunded" if order.refunded_minor else ""
    _line(f"{order.total_minor} minor units of {order.currency_code}{refunded}")
    _line(f"customer {order.customer_id}, created {shown_time(order, 'create_time')}")
    table = Table("sku", "ordered", "shipped", "returned", "price each")
    for line in order.lines:
        table.add_row(
            escape(line.sku),
            str(line.quantity),
            str(line.shipped_quantity),
            str(line.returned_quantity),
            str(line.unit_price_minor),
        )
    OUT.print(table)


def print_orders(orders: Sequence[Order]) -> None:
    """One row an order."""
    table = Table("order", "state", "customer", "minor units", "created", box=None)
    for one in orders:
        table.add_row(
            escape(one.order_id),
            state_name(one.state),
            escape(one.customer_id),
            escape(f"{one.total_minor} {one.currency_code}"),
            shown_time(one, "create_time"),
        )
    print_wide(table)


def print_change(change: WatchOrderResponse) -> None:
    """One line a change, at once."""
    entry = change.entry
    reason = why(entry)
    said = f": {reason}" if reason else ""
    when = shown_time(entry, "enter_time")
    _line(f"{when}  v{entry.version}  {state_name(entry.state)}{said}")


def _line(text: str) -> None:
    OUT.print(text, markup=False, highlight=False, soft_wrap=True)
