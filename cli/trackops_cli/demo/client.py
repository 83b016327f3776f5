"""The demo as a client of the mesh: places orders, follows them to their end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import grpc
from trackops.inventory.v1 import inventory_service_pb2 as inventory
from trackops.inventory.v1.inventory_pb2 import StockLevel
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from trackops.order.v1 import order_service_pb2 as orders
from trackops.order.v1.order_pb2 import Order, OrderState
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub
from trackops.saga.v1 import saga_service_pb2 as sagas
from trackops.saga.v1.saga_pb2 import Saga
from trackops.saga.v1.saga_service_pb2_grpc import SagaServiceStub

from trackops_cli.demo.plan import PlannedOrder
from trackops_cli.local.errors import StackError
from trackops_client import TrackOpsError, open_aio_channel, typed_errors

__all__ = ["DemoClient", "OrderStuck", "PlacedOrder"]

_CALL_SECONDS = 20
_IN_FLIGHT = 32
_POLL_SECONDS = 0.05


class OrderStuck(StackError):
    """Orders did not come to an end in time."""

    def __init__(self, order_ids: Sequence[str], seconds: float) -> None:
        super().__init__(
            f"{len(order_ids)} orders are still PENDING after {seconds:.0f} s, "
            f"the first is {order_ids[0]}; see `trackops status` and the services' logs"
        )


@dataclass(slots=True)
class PlacedOrder:
    """A planned order and what the order service said of it."""

    planned: PlannedOrder
    answers: list[orders.CreateOrderResponse]
    """One for each time it was sent."""
    refusal: grpc.StatusCode | None = None

    @property
    def order_id(self) -> str:
        """Empty for a refused one."""
        return self.answers[0].order.order_id if self.answers else ""


class DemoClient:
    """Calls the services at `targets` (host:port by name), waiting for one that restarts."""

    def __init__(
        self,
        targets: Mapping[str, str],
        token: Callable[[], str],
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """Without `credentials` in plain text. `token` may block; its caller may order for
        anybody, and see everything."""

        async def own_token() -> str:
            return await asyncio.to_thread(token)

        self._channels = {
            name: open_aio_channel(
                target,
                token=own_token,
                timeout_seconds=_CALL_SECONDS,
                wait_for_ready=True,
                credentials=credentials,
            )
            for name, target in targets.items()
        }
        self._orders = OrderServiceStub(self._channels["order"])
        self._inventory = InventoryServiceStub(self._channels["inventory"])
        self._sagas = SagaServiceStub(self._channels["saga_orchestrator"])

    async def aclose(self) -> None:
        """Close the channels."""
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    async def fill_shelves(self, stock: Mapping[str, int]) -> None:
        """Put `stock` pieces of each sku on hand."""
        adjustments = [
            inventory.AdjustStockRequest(sku=sku, delta=pieces) for sku, pieces in stock.items()
        ]
        await self._inventory.BatchAdjustStock(
            inventory.BatchAdjustStockRequest(requests=adjustments)
        )

    async def place(
        self, planned: Sequence[PlannedOrder], advance: Callable[[], None]
    ) -> list[PlacedOrder]:
        """Send every order, a few dozen at a time; `advance` is called after each."""
        slots = asyncio.Semaphore(_IN_FLIGHT)

        async def place_one(one: PlannedOrder) -> PlacedOrder:
            async with slots:
                placed = await self._place_one(one)
            advance()
            return placed

        return list(await asyncio.gather(*map(place_one, planned)))

    async def follow(
        self, order_ids: Sequence[str], advance: Callable[[int], None], *, timeout_seconds: float
    ) -> dict[str, Order]:
        """Every order, once it is not PENDING any more; `advance` gets how many ended since.

        Raises:
            OrderStuck: `timeout_seconds` passed.
        """
        give_up = time.monotonic() + timeout_seconds
        waiting = set(order_ids)
        ended: dict[str, Order] = {}
        while waiting:
            response = await self._orders.BatchGetOrders(
                orders.BatchGetOrdersRequest(order_ids=sorted(waiting))
            )
            news = {
                order.order_id: order
                for order in response.orders
                if order.state != OrderState.ORDER_STATE_PENDING
            }
            ended |= news
            waiting -= news.keys()
            advance(len(news))
            if waiting and time.monotonic() > give_up:
                raise OrderStuck(sorted(waiting), timeout_seconds)
            await asyncio.sleep(_POLL_SECONDS)
        return ended

    async def stock(self, skus: Sequence[str]) -> dict[str, StockLevel]:
        """Levels by sku."""
        response = await self._inventory.BatchGetStock(inventory.BatchGetStockRequest(skus=skus))
        return {level.sku: level for level in response.stock_levels}

    async def timeline(self, order_id: str) -> Sequence[orders.TimelineEntry]:
        """The states of an order."""
        request = orders.GetOrderTimelineRequest(order_id=order_id)
        return (await self._orders.GetOrderTimeline(request)).entries

    async def saga(self, order_id: str) -> Saga:
        """The saga that brought the order to its end."""
        request = sagas.ListSagasRequest(subject=order_id)
        return (await self._sagas.ListSagas(request)).sagas[0]

    async def _place_one(self, planned: PlannedOrder) -> PlacedOrder:
        sent = (self._orders.CreateOrder(planned.request) for _ in range(planned.sends))
        try:
            with typed_errors():
                answers = await asyncio.gather(*sent)
        except TrackOpsError as error:
            return PlacedOrder(planned, [], error.code)
        return PlacedOrder(planned, list(answers))
