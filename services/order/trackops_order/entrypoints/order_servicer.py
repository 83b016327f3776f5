"""`trackops.order.v1.OrderService`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from trackops.order.v1 import order_service_pb2

from trackops_common.auth import principal_of
from trackops_common.batching import Batcher
from trackops_common.grpc.endpoints import Context, Encoded, batch_results, unwrap
from trackops_order.application.create_orders import CreateOrder, CreateOrderOutcome
from trackops_order.application.ports import TimelineEntry
from trackops_order.domain.errors import OrderNotFound
from trackops_order.entrypoints.converters import create_command, timeline_message
from trackops_order.entrypoints.errors import order_failure

__all__ = ["OrderServicer"]


@dataclass(frozen=True)
class OrderServicer:
    """Answers OrderService; the contract's comments say what each RPC promises."""

    creations: Batcher[CreateOrder, CreateOrderOutcome]
    reads: Batcher[UUID, bytes | OrderNotFound]
    timelines: Batcher[UUID, Sequence[TimelineEntry] | OrderNotFound]

    async def CreateOrder(
        self, request: order_service_pb2.CreateOrderRequest, context: Context
    ) -> Encoded:
        command = create_command(request, principal_of(context))
        return unwrap(
            await self.creations.submit(command, timeout_seconds=context.time_remaining())
        )

    async def BatchCreateOrders(
        self, request: order_service_pb2.BatchCreateOrdersRequest, context: Context
    ) -> order_service_pb2.BatchCreateOrdersResponse:
        principal = principal_of(context)
        outcomes = await self.creations.submit_all(
            [create_command(one, principal) for one in request.requests],
            timeout_seconds=context.time_remaining(),
        )
        return order_service_pb2.BatchCreateOrdersResponse(
            results=batch_results(
                outcomes,
                order_service_pb2.CreateOrderResult,
                order_service_pb2.CreateOrderResponse,
                order_failure,
            )
        )

    async def GetOrder(
        self, request: order_service_pb2.GetOrderRequest, context: Context
    ) -> Encoded:
        order_id = UUID(request.order_id)
        return unwrap(await self.reads.submit(order_id, timeout_seconds=context.time_remaining()))

    async def BatchGetOrders(
        self, request: order_service_pb2.BatchGetOrdersRequest, context: Context
    ) -> order_service_pb2.BatchGetOrdersResponse:
        found = await self.reads.submit_all(
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

    async def GetOrderTimeline(
        self, request: order_service_pb2.GetOrderTimelineRequest, context: Context
    ) -> order_service_pb2.GetOrderTimelineResponse:
        entries = await self.timelines.submit(
            UUID(request.order_id), timeout_seconds=context.time_remaining()
        )
        return timeline_message(unwrap(entries))
