"""`trackops order timeline`: asks everybody who knows something about an order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import grpc
import typer
from rich.markup import escape
from rich.table import Table
from trackops.order.v1 import order_service_pb2 as order_pb
from trackops.order.v1.order_pb2 import Order
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub
from trackops.relay.v1 import relay_service_pb2 as relay_pb
from trackops.relay.v1.relay_service_pb2_grpc import RelayServiceStub
from trackops.saga.v1 import saga_pb2
from trackops.saga.v1 import saga_service_pb2 as saga_rpc_pb
from trackops.saga.v1.saga_service_pb2_grpc import SagaServiceStub

from trackops_cli.calls import (
    AS_JSON,
    UNREACHABLE,
    calling,
    pages,
    print_json,
    shown_time,
    target_of,
)
from trackops_cli.channels import open_channel
from trackops_cli.credentials import access_token
from trackops_cli.local.errors import StackError
from trackops_cli.order.advice import Advice, advise
from trackops_cli.order.commands import OrderId, OrderTarget, app
from trackops_cli.order.show import state_name
from trackops_cli.order.story import Story, moments
from trackops_cli.terminal import OUT, print_wide, say
from trackops_client import TrackOpsError, typed_errors

__all__ = ["timeline"]

_SECONDS = 20.0

_ENDED = (saga_pb2.SAGA_STATE_COMPLETED, saga_pb2.SAGA_STATE_COMPENSATED)

T = TypeVar("T")


@app.command()
def timeline(
    order_id: OrderId,
    order_target: OrderTarget = "",
    saga_target: Annotated[
        str,
        typer.Option(envvar="TRACKOPS_SAGA_ORCHESTRATOR_TARGET", help="That of the orchestrator."),
    ] = "",
    relay_target: Annotated[
        str, typer.Option(envvar="TRACKOPS_OUTBOX_RELAY_TARGET", help="That of the relay.")
    ] = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """Tell all about an order: states, sagas, events, operators; what holds it up, what to do.

    Exits 3 where somebody did not answer; what the others know is shown all the same.
    """
    with calling("order", order_target) as channel:
        stub = OrderServiceStub(channel)
        order = stub.GetOrder(order_pb.GetOrderRequest(order_id=order_id)).order
        request = order_pb.GetOrderTimelineRequest(order_id=order_id)
        changes = stub.GetOrderTimeline(request).entries
    story = _ask_the_others(order, changes, saga_target, relay_target)
    advice = advise(story, datetime.now(UTC))
    if as_json:
        todo = [{"problem": one.problem, "todo": one.todo} for one in advice]
        print_json(story.document() | {"advice": todo})
    else:
        _print(story, advice)
    if story.missing:
        raise typer.Exit(UNREACHABLE)


def _ask_the_others(
    order: Order, changes: Sequence[order_pb.TimelineEntry], saga_target: str, relay_target: str
) -> Story:
    missing: list[str] = []
    sagas = _asked(
        "saga_orchestrator", saga_target, lambda one: _sagas(one, order.order_id), missing
    )
    told = _asked("outbox_relay", relay_target, lambda one: _events(one, order), missing)
    events, operations = told or ([], [])
    return Story(order, changes, sagas or [], events, operations, missing)


def _asked(
    service: str, target: str, ask: Callable[[grpc.Channel], T], missing: list[str]
) -> T | None:
    """What a service answers; where it does not, or refuses, that is noted: a part is better."""
    address = target_of(service, target)
    try:
        with (
            open_channel(address, token=access_token, timeout_seconds=_SECONDS) as channel,
            typed_errors(),
        ):
            return ask(channel)
    except (TrackOpsError, StackError) as error:
        missing.append(f"{service} at {address}: {error}")
        return None


def _sagas(channel: grpc.Channel, order_id: str) -> list[saga_pb2.Saga]:
    stub = SagaServiceStub(channel)
    request = saga_rpc_pb.ListSagasRequest(subject=order_id)
    ids = [one.saga_id for one in pages(stub.ListSagas, request, "sagas")]
    return [stub.GetSaga(saga_rpc_pb.GetSagaRequest(saga_id=id_)).saga for id_ in reversed(ids)]


def _events(
    channel: grpc.Channel, order: Order
) -> tuple[list[relay_pb.Event], list[tuple[str, relay_pb.Operation]]]:
    """The order's outbox rows, and what operators did to them."""
    stub: Any = RelayServiceStub(channel)
    request = relay_pb.ListEventsRequest(key=order.order_id, since=order.create_time, locate=True)
    events = list(stub.ListEvents(request).events)
    operations = [
        (source, one)
        for source in sorted({event.source for event in events})
        for one in pages(
            stub.ListOperations,
            relay_pb.ListOperationsRequest(source=source, page_size=1000),
            "operations",
        )
        if one.key == order.order_id
    ]
    return events, operations


def _print(story: Story, advice: Sequence[Advice]) -> None:
    order = story.order
    _line(
        f"order {order.order_id} of {order.customer_id}: {state_name(order.state)},"
        f" version {order.version}"
    )
    now = datetime.now(UTC)
    table = Table("time (UTC)", "who", "what", "more", box=None, padding=(0, 2, 0, 0))
    for one in moments(story):
        style = "dim" if one.time > now else ""
        table.add_row(
            shown_time(one.time), one.teller, escape(one.what), escape(one.detail), style=style
        )
    print_wide(table)
    for trace in sorted({event.traceparent for event in story.events if event.traceparent}):
        _line(f"traceparent {trace}")
    for absent in story.missing:
        say(f"not in here, for want of an answer: {absent}")
    if not advice and not story.missing:
        under_way = any(saga.state not in _ENDED for saga in story.sagas)
        _line("under way; nothing holds it up yet" if under_way else "nothing holds it up")
    for item in advice:
        _line(f"! {item.problem}")
        _line(f"  → {item.todo}")


def _line(text: str) -> None:
    OUT.print(text, markup=False, highlight=False, soft_wrap=True)
