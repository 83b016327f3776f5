"""What the demo puts on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from trackops.order.v1.order_pb2 import Order, OrderState
from trackops.order.v1.order_service_pb2 import TimelineEntry
from trackops.saga.v1.saga_pb2 import Saga, StepState

from trackops_cli.demo.checks import end_of
from trackops_cli.demo.client import PlacedOrder
from trackops_cli.demo.log import LoggedEvent

__all__ = ["outcome_table", "timeline_table"]

Row = tuple[datetime, str, str, str]


def outcome_table(placed: Sequence[PlacedOrder], orders: Mapping[str, Order]) -> Table:
    """How many orders were planned for which end, and what they came to."""
    counts = Counter((str(one.planned.ending), _end_text(one, orders)) for one in placed)
    table = Table("planned", "came to", "orders", title="Outcomes", title_justify="left")
    for (planned, came_to), number in sorted(counts.items()):
        table.add_row(planned, came_to, str(number))
    repeats = sum(len(one.answers) - 1 for one in placed if one.answers)
    table.add_section()
    table.add_row("the same request_id again", "the same response, no new order", str(repeats))
    return table


def timeline_table(
    order: Order, entries: Sequence[TimelineEntry], saga: Saga, events: Sequence[LoggedEvent]
) -> Table:
    """States, saga steps and events of one order, in one time line."""
    rows = [*_state_rows(entries), *_saga_rows(saga), *_event_rows(events)]
    title = f"Order {order.order_id}, {' '.join(end_of(order)).strip()}"
    table = Table("time (UTC)", "where", "what", "detail", title=title, title_justify="left")
    for time, where, what, detail in sorted(rows, key=lambda row: row[0]):
        table.add_row(f"{time:%H:%M:%S.%f}"[:-3], where, what, detail)
    return table


def _end_text(one: PlacedOrder, orders: Mapping[str, Order]) -> str:
    if one.refusal is not None:
        return one.refusal.name
    return " ".join(end_of(orders[one.order_id])).strip()


def _state_rows(entries: Sequence[TimelineEntry]) -> Iterator[Row]:
    for entry in entries:
        state = OrderState.Name(entry.state).removeprefix("ORDER_STATE_")
        yield _time(entry.enter_time), "order", state, f"version {entry.version}"


def _saga_rows(saga: Saga) -> Iterator[Row]:
    for step in saga.steps:
        state = StepState.Name(step.state).removeprefix("STEP_STATE_")
        if step.attempts:
            detail = f"{step.attempts} attempt{'s' * (step.attempts > 1)} {step.error}".strip()
            yield _time(step.update_time), saga.definition, f"{step.name}: {state}", detail


def _event_rows(events: Sequence[LoggedEvent]) -> Iterator[Row]:
    for event in events:
        detail = f"seq {event.attributes.outboxseq}, {event.place}"
        yield event.attributes.time, "event", event.name, detail


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
