"""`trackops.order.v1.OrderService`."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from trackops.order.v1 import order_service_pb2

from trackops_common.batching import Batcher
from trackops_common.bounded_calls import BoundedCalls
from trackops_common.grpc.command_rpc import CommandRpc
from trackops_common.grpc.endpoints import Context, Encoded, unwrap
from trackops_order.application.create_orders import CreateOrder, CreateOrderOutcome
from trackops_order.application.list_orders import PageRequest
from trackops_order.application.ports import TimelineEntry
from trackops_order.domain.errors import OrderNotFound
from trackops_order.entrypoints.converters import (
    create_command,
    page_request,
    timeline_message,
)
from trackops_order.entrypoints.errors import order_failure

__all__ = ["OrderServicer"]


class OrderServicer:
    """Answers OrderService; the contract's comments say what each RPC promises."""

    def __init__(
        self,
        creations: Batcher[CreateOrder, CreateOrderOutcome],
        reads: Batcher[UUID, bytes | OrderNotFound],
        timelines: Batcher[UUID, Sequence[TimelineEntry] | OrderNotFound],
        listings: BoundedCalls[PageRequest, Encoded],
    ) -> None:
        create = CommandRpc(
            creations, create_command, order_service_pb2.BatchCreateOrdersResponse, order_failure
        )
        self.CreateOrder, self.BatchCreateOrders = create.one, create.many
        self._reads = reads
        self._timelines = timelines
        self._listings = listings

    async def GetOrder(
        self, request: order_service_pb2.GetOrderRequest, context: Context
    ) -> Encoded:
        order_id = UUID(request.order_id)
        return unwrap(await self._reads.submit(order_id, timeout_seconds=context.time_remaining()))

    async def BatchGetOrders(
        self, request: order_service_pb2.BatchGetOrdersRequest, context: Context
    ) -> order_service_pb2.BatchGetOrdersResponse:
        found = await self._reads.submit_all(
            [UUID(order_id) for order_id in request.order_ids],
            timeout_seconds=context.time_remaining(),
        )
        return order_service_pb2.BatchGetOrdersResponse(
            orders=[
                order_service_pb2.GetOrderResponse.FromString(one).order
                for one in found
                if isinstance(one, bytes)
            ]
        )

    async def ListOrders(
        self, request: order_service_pb2.ListOrdersRequest, context: Context
    ) -> Encoded:
        del context  # a call whose deadline passes is cancelled, also while it waits
        return await self._listings.submit(page_request(request))

    async def GetOrderTimeline(
        self, request: order_service_pb2.GetOrderTimelineRequest, context: Context
    ) -> order_service_pb2.GetOrderTimelineResponse:
        entries = await self._timelines.submit(
            UUID(request.order_id), timeout_seconds=context.time_remaining()
        )
        return timeline_message(unwrap(entries))
