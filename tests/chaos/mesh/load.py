"""Steady load: customers who order, cancel and send back, a warehouse that ships, an operator."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from trackops.inventory.v1 import inventory_service_pb2 as inventory_pb
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from trackops.order.v1 import order_service_pb2 as pb
from trackops.order.v1.order_pb2 import Order, OrderLine, OrderState, Pieces
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub
from trackops.saga.v1 import saga_service_pb2 as saga_pb
from trackops.saga.v1.saga_pb2 import SagaState
from trackops.saga.v1.saga_service_pb2_grpc import SagaServiceStub

from trackops_client import open_aio_channel

from .history import History
from .plans import STOCK, Plan, draw
from .rest import open_rest
from .shop import Shop, principal_of
from .world import World

__all__ = ["Load", "run_load"]

_MOST_TIMES = 4
_DECISION_SECONDS = 45.0
_LOOK_SECONDS = 0.7
_OVERDUE_SECONDS = 1.5
"""A saga that old, which usually takes a tenth of a second, is one that an operator looks at."""
_TURN_BACK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """How much of it."""

    orders_per_second: float
    seconds: float
    seed: int

    @property
    def orders(self) -> int:
        return int(self.orders_per_second * self.seconds)


async def run_load(world: World, load: Load, history: History, harmed: Callable[[], bool]) -> None:
    """Send all of it, and more at the same rate while the mesh is still `harmed`, within bounds.

    Returns once every customer has what they wanted or has given up.
    """
    plans = random.Random(f"plans {load.seed}")
    waits = random.Random(f"waits {load.seed}")  # drawn from when the mesh says so
    async with _opened(world, history, waits) as (ways_in, stock, sagas):
        await _fill_shelves(ways_in.grpc, stock)
        stop = asyncio.Event()
        operator = asyncio.create_task(_turn_back(ways_in.grpc, sagas, waits, stop))
        began = time.monotonic()
        customers = []
        for number in range(_MOST_TIMES * load.orders):
            if number >= load.orders and not harmed():
                break
            due = began + number / load.orders_per_second
            await asyncio.sleep(max(0, due - time.monotonic()))
            served = _serve(ways_in, draw(plans), random.Random(number))
            customers.append(asyncio.create_task(served))
        await asyncio.gather(*customers)
        stop.set()
        await operator


@dataclass(frozen=True, slots=True)
class _WaysIn:
    """To the order service."""

    grpc: Shop
    rest: Shop


@asynccontextmanager
async def _opened(
    world: World, history: History, rng: random.Random
) -> AsyncIterator[tuple[_WaysIn, Any, Any]]:
    mesh = world.mesh

    async def token() -> str:
        return await asyncio.to_thread(mesh.token)

    async with AsyncExitStack() as opened:

        async def channel(service: str) -> grpc.aio.Channel:
            made = open_aio_channel(
                world.targets[service], token=token, credentials=world.stack.addresses.credentials
            )
            return await opened.enter_async_context(made)

        rest = await opened.enter_async_context(open_rest(world.stack.edge, token))
        principal = principal_of(await token())
        yield (
            _WaysIn(
                Shop(OrderServiceStub(await channel("order")), history, principal, rng),
                Shop(rest, history, principal, rng),
            ),
            InventoryServiceStub(await channel("inventory")),
            SagaServiceStub(await channel("saga_orchestrator")),
        )


async def _fill_shelves(shop: Shop, stock: Any) -> None:
    for sku, pieces in STOCK.items():
        request = inventory_pb.AdjustStockRequest(
            request_id=str(uuid.uuid4()), sku=sku, delta=pieces
        )
        await shop.insist("fill", stock.AdjustStock, request, pieces={sku: pieces})


async def _serve(ways_in: _WaysIn, plan: Plan, rng: random.Random) -> None:
    """One customer, from the order to its planned end; the warehouse comes by gRPC."""
    shop = ways_in.rest if plan.comes_by_rest else ways_in.grpc
    order = await _place(shop, plan)
    if order is None or plan.end == "keep":
        return
    if plan.end == "cancel" and plan.cancels_at_once:
        await _cancel(shop, order.order_id)
        return
    seen = await _decided(shop, order.order_id)
    if seen is None or seen.state != OrderState.ORDER_STATE_CONFIRMED:
        return
    if plan.end == "cancel":
        await _cancel(shop, order.order_id)
        return
    await _ship(ways_in.grpc, plan, order.order_id)
    if plan.end == "return":
        await _send_back(ways_in.grpc, plan, order.order_id, rng)


async def _place(shop: Shop, plan: Plan) -> Order | None:
    request_id = str(uuid.uuid4())
    request = _order(plan, request_id)
    pieces = {line.sku: line.quantity for line in plan.lines}
    sent = [
        shop.insist(
            "create",
            shop.orders.CreateOrder,
            request,
            first_timeout_seconds=plan.first_timeout_seconds,
            attempts=30 if plan.comes_back else 1,
            pieces=pieces,
        )
        for _ in range(plan.sends)
    ]
    answers = [answer for answer in await asyncio.gather(*sent) if answer is not None]
    if answers and plan.sends_other_body:
        other = _order(plan, request_id)
        other.customer_id = "somebody-else"
        await shop.insist("create other body", shop.orders.CreateOrder, other)
    return answers[0].order if answers else None


def _order(plan: Plan, request_id: str) -> pb.CreateOrderRequest:
    """It carries its request's id to wherever the order goes, for whoever checks."""
    return pb.CreateOrderRequest(
        request_id=request_id,
        customer_id="chaos",
        currency_code="EUR",
        lines=[
            OrderLine(sku=one.sku, quantity=one.quantity, unit_price_minor=one.unit_price_minor)
            for one in plan.lines
        ],
        payment_method_token=plan.payment_method_token,
        metadata={"request": request_id},
    )


async def _cancel(shop: Shop, order_id: str) -> None:
    request = pb.CancelOrderRequest(request_id=str(uuid.uuid4()), order_id=order_id, reason="no")
    await shop.insist("cancel", shop.orders.CancelOrder, request)


async def _decided(shop: Shop, order_id: str) -> Order | None:
    """The order once it is not PENDING any more; None if that takes too long."""
    give_up = time.monotonic() + _DECISION_SECONDS
    while time.monotonic() < give_up:
        request = pb.GetOrderRequest(order_id=order_id)
        answer, _ = await shop.call("read", shop.orders.GetOrder, request, 3.0)
        if answer is not None and answer.order.state != OrderState.ORDER_STATE_PENDING:
            return answer.order  # type: ignore[no-any-return]
        await asyncio.sleep(_LOOK_SECONDS)
    return None


async def _ship(shop: Shop, plan: Plan, order_id: str) -> None:
    wanted = {line.sku: line.quantity for line in plan.lines}
    first = wanted
    if plan.end == "ship in parts":
        first = dict(list(wanted.items())[:1])
        first = {sku: max(1, quantity - 1) for sku, quantity in first.items()}
    await _send_out(shop, order_id, first)
    rest = {sku: left for sku, n in wanted.items() if (left := n - first.get(sku, 0))}
    if rest:
        await _send_out(shop, order_id, rest)


async def _send_out(shop: Shop, order_id: str, pieces: Mapping[str, int]) -> None:
    request = pb.ShipOrderRequest(
        request_id=str(uuid.uuid4()),
        order_id=order_id,
        lines=[Pieces(sku=sku, quantity=quantity) for sku, quantity in pieces.items()],
        carrier="DHL",
        tracking_number="JD-1",
    )
    await shop.insist("ship", shop.orders.ShipOrder, request, pieces=pieces)


async def _send_back(shop: Shop, plan: Plan, order_id: str, rng: random.Random) -> None:
    request = pb.DeliverOrderRequest(request_id=str(uuid.uuid4()), order_id=order_id)
    await shop.insist("deliver", shop.orders.DeliverOrder, request)
    line = rng.choice(plan.lines)
    pieces = {line.sku: rng.randint(1, line.quantity)}
    back = pb.ReturnOrderRequest(
        request_id=str(uuid.uuid4()),
        order_id=order_id,
        lines=[Pieces(sku=sku, quantity=quantity) for sku, quantity in pieces.items()],
        reason="too loud",
    )
    await shop.insist("return", shop.orders.ReturnOrder, back, pieces=pieces)
    await _decided(shop, order_id)


async def _turn_back(shop: Shop, sagas: Any, rng: random.Random, stop: asyncio.Event) -> None:
    """An operator who loses patience with orders that hang: turns some of their sagas back."""
    while not stop.is_set():
        await asyncio.wait([asyncio.create_task(stop.wait())], timeout=_TURN_BACK_SECONDS)
        running = saga_pb.ListSagasRequest(states=[SagaState.SAGA_STATE_RUNNING], page_size=50)
        answer, _ = await shop.call("list sagas", sagas.ListSagas, running, 3.0)
        due = time.time() - _OVERDUE_SECONDS
        overdue = [
            one
            for one in (answer.sagas if answer is not None else ())
            if one.definition == "place-order" and one.create_time.ToSeconds() < due
        ]
        for saga in rng.sample(overdue, min(3, len(overdue))):
            request = saga_pb.CompensateSagaRequest(
                request_id=str(uuid.uuid4()), saga_id=saga.saga_id, reason="it hangs"
            )
            await shop.call("turn back", sagas.CompensateSaga, request, 3.0)
