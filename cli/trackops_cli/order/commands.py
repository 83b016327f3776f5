"""The commands."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any

import typer
from trackops.order.v1 import order_service_pb2 as pb
from trackops.order.v1.order_pb2 import Order, OrderState, Pieces
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_cli.calls import AS_JSON, calling, pages, print_json, told
from trackops_cli.order import lines, show
from trackops_client import watch_order

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Make, show and change orders; tell what became of one."
)

OrderId = Annotated[str, typer.Argument(metavar="ID", help="The order's id.")]
OrderTarget = Annotated[
    str,
    typer.Option(
        envvar="TRACKOPS_ORDER_TARGET",
        help="host:port of the order service; by default the local stack's.",
    ),
]
RequestId = Annotated[
    str, typer.Option(help="A UUID; the same one again repeats the call and not the change.")
]
Etag = Annotated[str, typer.Option(help="Change this version of the order or none.")]
Some = Annotated[list[str] | None, typer.Option("--sku", metavar="SKU=QUANTITY")]

_PAGE = 500


@app.command()
def create(
    sku: Annotated[
        list[str],
        typer.Option(metavar="SKU=QUANTITY@PRICE", help="A line; the price of one in minor units."),
    ],
    customer: Annotated[str, typer.Option(help="Whose order it is.")],
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "EUR",
    payment_method: Annotated[
        str, typer.Option(help="The payment provider's token; the default is the simulator's.")
    ] = "tok_visa",
    note: Annotated[str, typer.Option(help="From the customer.")] = "",
    request_id: RequestId = "",
    order_target: OrderTarget = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """Place an order; it is PENDING until its saga has seen to it."""
    request = pb.CreateOrderRequest(
        request_id=request_id or _new_id(),
        customer_id=customer,
        currency_code=currency,
        lines=lines.order_lines(sku),
        payment_method_token=payment_method,
        note=note,
    )
    with _changing(order_target, request.request_id) as orders:
        _show(orders.CreateOrder(request).order, as_json=as_json)


@app.command()
def get(order_id: OrderId, order_target: OrderTarget = "", *, as_json: AS_JSON = False) -> None:
    """Show an order as it is."""
    with calling("order", order_target) as channel:
        _show(_get(OrderServiceStub(channel), order_id), as_json=as_json)


@app.command("list")
def list_orders(
    customer: Annotated[str, typer.Option(help="Of this customer only.")] = "",
    state: Annotated[
        list[str] | None, typer.Option(help="Such as PENDING; may be repeated.")
    ] = None,
    sku: Annotated[str, typer.Option(help="With a line of this sku only.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    order_target: OrderTarget = "",
    *,
    oldest_first: Annotated[bool, typer.Option("--oldest-first")] = False,
    as_json: AS_JSON = False,
) -> None:
    """List orders, newest first."""
    request = pb.ListOrdersRequest(
        customer_id=customer,
        states=[_state_number(name) for name in state or ()],
        sku=sku,
        page_size=min(limit, _PAGE),
    )
    if oldest_first:
        request.sort = pb.LIST_ORDERS_SORT_OLDEST_FIRST
    with calling("order", order_target) as channel:
        call = OrderServiceStub(channel).ListOrders
        found: list[Order] = list(islice(pages(call, request, "orders"), limit))
    if as_json:
        print_json(pb.ListOrdersResponse(orders=found))
    else:
        show.print_orders(found)


@app.command()
def cancel(
    order_id: OrderId,
    reason: Annotated[str, typer.Option(help="For people; the timeline keeps it.")] = "",
    request_id: RequestId = "",
    etag: Etag = "",
    order_target: OrderTarget = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """Cancel an order of which nothing is shipped."""
    request = pb.CancelOrderRequest(
        request_id=request_id or _new_id(), order_id=order_id, etag=etag, reason=reason
    )
    with _changing(order_target, request.request_id) as orders:
        _show(orders.CancelOrder(request).order, as_json=as_json)


@app.command()
def ship(
    order_id: OrderId,
    carrier: Annotated[str, typer.Option(help="Who carries it.")],
    tracking: Annotated[str, typer.Option(help="The carrier's name for it.")],
    sku: Some = None,
    request_id: RequestId = "",
    etag: Etag = "",
    order_target: OrderTarget = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """Let pieces leave: those that are named, or all that are left."""
    chosen = lines.pieces(sku or ())
    request = pb.ShipOrderRequest(
        request_id=request_id or _new_id(),
        order_id=order_id,
        lines=chosen or lines.shippable(_asked(order_target, order_id)),
        carrier=carrier,
        tracking_number=tracking,
        etag=etag,
    )
    with _changing(order_target, request.request_id, () if chosen else request.lines) as orders:
        _show(orders.ShipOrder(request).order, as_json=as_json)


@app.command()
def deliver(
    order_id: OrderId,
    request_id: RequestId = "",
    etag: Etag = "",
    order_target: OrderTarget = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """Say that all pieces arrived."""
    request = pb.DeliverOrderRequest(
        request_id=request_id or _new_id(), order_id=order_id, etag=etag
    )
    with _changing(order_target, request.request_id) as orders:
        _show(orders.DeliverOrder(request).order, as_json=as_json)


@app.command("return")
def return_order(
    order_id: OrderId,
    reason: Annotated[str, typer.Option(help="Why they come back.")],
    sku: Some = None,
    request_id: RequestId = "",
    etag: Etag = "",
    order_target: OrderTarget = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """Take pieces back: those that are named, or all that left; they are refunded."""
    chosen = lines.pieces(sku or ())
    request = pb.ReturnOrderRequest(
        request_id=request_id or _new_id(),
        order_id=order_id,
        lines=chosen or lines.returnable(_asked(order_target, order_id)),
        reason=reason,
        etag=etag,
    )
    with _changing(order_target, request.request_id, () if chosen else request.lines) as orders:
        _show(orders.ReturnOrder(request).order, as_json=as_json)


@app.command()
def watch(
    order_id: OrderId,
    after_version: Annotated[int, typer.Option(min=0, help="Begin with the change after it.")] = 0,
    order_target: OrderTarget = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a change.")] = False,
) -> None:
    """Show each change of an order as it happens, until its last or Ctrl-C."""
    try:
        with calling("order", order_target) as channel:
            for change in watch_order(channel, order_id, after_version=after_version):
                if as_json:
                    print(json.dumps(told(change)), flush=True)  # noqa: T201 - no wrapping
                else:
                    show.print_change(change)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@contextmanager
def _changing(target: str, request_id: str, moved: Sequence[Pieces] = ()) -> Iterator[Any]:
    """The order service, for a call that changes something; `moved` is what no option named."""
    again = f"the same command with {lines.written(moved)} --request-id {request_id}"
    unsure = f"whether it was done is not known; {' '.join(again.split())} does it once at most"
    with calling("order", target, unsure=unsure) as channel:
        yield OrderServiceStub(channel)


def _asked(target: str, order_id: str) -> Order:
    with calling("order", target) as channel:
        return _get(OrderServiceStub(channel), order_id)


def _get(orders: Any, order_id: str) -> Order:
    found: Order = orders.GetOrder(pb.GetOrderRequest(order_id=order_id)).order
    return found


def _show(order: Order, *, as_json: bool) -> None:
    if as_json:
        print_json(order)
    else:
        show.print_order(order)


def _state_number(name: str) -> OrderState.ValueType:
    try:
        return OrderState.Value(f"ORDER_STATE_{name.upper()}")
    except ValueError as error:
        known = ", ".join(one.removeprefix("ORDER_STATE_") for one in OrderState.keys()[1:])
        raise typer.BadParameter(f"{name!r} is none of {known}", param_hint="--state") from error


def _new_id() -> str:
    return str(uuid.uuid4())
