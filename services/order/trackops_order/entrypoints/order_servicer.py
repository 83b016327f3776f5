"""`trackops.order.v1.OrderService`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from trackops.order.v1 import order_service_pb2

from trackops_common.auth import caller
from trackops_common.batching import Batcher
from trackops_common.bounded_calls import BoundedCalls
from trackops_common.grpc.command_rpc import CommandRpc
from trackops_common.grpc.endpoints import Context, Encoded, unwrap
from trackops_order.application.cancel_orders import CancelOrder
from trackops_order.application.change_orders import ChangeOutcome
from trackops_order.application.create_orders import CreateOrder, CreateOrderOutcome
from trackops_order.application.deliver_orders import DeliverOrder
from trackops_order.application.get_orders import ReadOrder, ReadOutcome
from trackops_order.application.list_orders import PageRequest
from trackops_order.application.return_orders import ReturnOrder
from trackops_order.application.ship_orders import ShipOrder
from trackops_order.application.update_order_statuses import UpdateOrderStatus
from trackops_order.application.watch_orders import WatchOrders
from trackops_order.domain.errors import OrderNotFound
from trackops_order.entrypoints.converters import (
    batch_reads,
    cancel_command,
    create_command,
    deliver_command,
    page_request,
    return_command,
    ship_command,
    update_status_command,
    watch_position,
)
from trackops_order.entrypoints.errors import order_failure

__all__ = ["OrderServicer"]

_ANY_VERSION = 1
"""What the cache takes for unknown is looked up."""


class OrderServicer:
    """Answers OrderService; the contract's comments say what each RPC promises."""

    def __init__(
        self,
        creations: Batcher[CreateOrder, CreateOrderOutcome],
        reads: Batcher[ReadOrder, ReadOutcome],
        timelines: Batcher[UUID, bytes | OrderNotFound],
        cancellations: Batcher[CancelOrder, ChangeOutcome],
        shipments: Batcher[ShipOrder, ChangeOutcome],
        deliveries: Batcher[DeliverOrder, ChangeOutcome],
        returns: Batcher[ReturnOrder, ChangeOutcome],
        updates: Batcher[UpdateOrderStatus, ChangeOutcome],
        listings: BoundedCalls[PageRequest, Encoded],
        watches: WatchOrders,
    ) -> None:
        pb = order_service_pb2
        create = CommandRpc(creations, create_command, pb.BatchCreateOrdersResponse, order_failure)
        cancel = CommandRpc(
            cancellations, cancel_command, pb.BatchCancelOrdersResponse, order_failure
        )
        ship = CommandRpc(shipments, ship_command, pb.BatchShipOrdersResponse, order_failure)
        deliver = CommandRpc(
            deliveries, deliver_command, pb.BatchDeliverOrdersResponse, order_failure
        )
        take_back = CommandRpc(returns, return_command, pb.BatchReturnOrdersResponse, order_failure)
        update = CommandRpc(
            updates, update_status_command, pb.BatchUpdateOrderStatusesResponse, order_failure
        )
        self.CreateOrder, self.BatchCreateOrders = create.one, create.many
        self.CancelOrder, self.BatchCancelOrders = cancel.one, cancel.many
        self.ShipOrder, self.BatchShipOrders = ship.one, ship.many
        self.DeliverOrder, self.BatchDeliverOrders = deliver.one, deliver.many
        self.ReturnOrder, self.BatchReturnOrders = take_back.one, take_back.many
        self.UpdateOrderStatus, self.BatchUpdateOrderStatuses = update.one, update.many
        self._reads = reads
        self._timelines = timelines
        self._listings = listings
        self._watches = watches

    async def GetOrder(
        self, request: order_service_pb2.GetOrderRequest, context: Context
    ) -> Encoded:
        read = ReadOrder(UUID(request.order_id), request.min_version, caller().owner)
        return unwrap(await self._reads.submit(read, timeout_seconds=context.time_remaining()))

    async def BatchGetOrders(
        self, request: order_service_pb2.BatchGetOrdersRequest, context: Context
    ) -> order_service_pb2.BatchGetOrdersResponse:
        found = await self._reads.submit_all(
            batch_reads(request), timeout_seconds=context.time_remaining()
        )
        return order_service_pb2.BatchGetOrdersResponse(
            orders=[
                order_service_pb2.GetOrderResponse.FromString(unwrap(one)).order
                for one in found
                if not isinstance(one, OrderNotFound)
            ]
        )

    async def ListOrders(
        self, request: order_service_pb2.ListOrdersRequest, context: Context
    ) -> Encoded:
        del context  # a call whose deadline passes is cancelled, also while it waits
        return await self._listings.submit(page_request(request))

    async def GetOrderTimeline(
        self, request: order_service_pb2.GetOrderTimelineRequest, context: Context
    ) -> Encoded:
        order_id = UUID(request.order_id)
        await self._expect_visible(order_id)
        return unwrap(
            await self._timelines.submit(order_id, timeout_seconds=context.time_remaining())
        )

    async def WatchOrder(
        self, request: order_service_pb2.WatchOrderRequest, context: Context
    ) -> AsyncGenerator[Encoded, None]:
        del context  # a stream is closed when its caller leaves or its deadline passes
        position = watch_position(request)
        await self._expect_visible(position.order_id)
        async with aclosing(self._watches(position)) as changes:
            async for change in changes:
                yield change

    async def _expect_visible(self, order_id: UUID) -> None:
        """Raises OrderNotFound for an order of others, to callers who see their own only.

        Looked up before what the call is about: an order never changes hands.
        """
        if owner := caller().owner:
            unwrap(await self._reads.submit(ReadOrder(order_id, _ANY_VERSION, owner)))
