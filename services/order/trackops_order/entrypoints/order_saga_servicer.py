"""`trackops.order.v1.OrderSagaService`."""

from __future__ import annotations

from dataclasses import dataclass

from trackops.order.v1 import order_saga_service_pb2

from trackops_common.auth import principal_of
from trackops_common.batching import Batcher
from trackops_common.grpc.endpoints import Context, Encoded, batch_results, unwrap
from trackops_order.application.change_orders import ChangeOutcome
from trackops_order.application.close_orders import CloseOrder
from trackops_order.application.confirm_orders import ConfirmOrder
from trackops_order.entrypoints.converters import close_command, confirm_command
from trackops_order.entrypoints.errors import order_failure

__all__ = ["OrderSagaServicer"]


@dataclass(frozen=True)
class OrderSagaServicer:
    """Answers OrderSagaService; the contract's comments say what each RPC promises."""

    confirmations: Batcher[ConfirmOrder, ChangeOutcome]
    closures: Batcher[CloseOrder, ChangeOutcome]

    async def ConfirmOrder(
        self, request: order_saga_service_pb2.ConfirmOrderRequest, context: Context
    ) -> Encoded:
        command = confirm_command(request, principal_of(context))
        return unwrap(
            await self.confirmations.submit(command, timeout_seconds=context.time_remaining())
        )

    async def BatchConfirmOrders(
        self, request: order_saga_service_pb2.BatchConfirmOrdersRequest, context: Context
    ) -> order_saga_service_pb2.BatchConfirmOrdersResponse:
        principal = principal_of(context)
        outcomes = await self.confirmations.submit_all(
            [confirm_command(one, principal) for one in request.requests],
            timeout_seconds=context.time_remaining(),
        )
        return order_saga_service_pb2.BatchConfirmOrdersResponse(
            results=batch_results(
                outcomes,
                order_saga_service_pb2.ConfirmOrderResult,
                order_saga_service_pb2.ConfirmOrderResponse,
                order_failure,
            )
        )

    async def CloseOrder(
        self, request: order_saga_service_pb2.CloseOrderRequest, context: Context
    ) -> Encoded:
        command = close_command(request, principal_of(context))
        return unwrap(await self.closures.submit(command, timeout_seconds=context.time_remaining()))

    async def BatchCloseOrders(
        self, request: order_saga_service_pb2.BatchCloseOrdersRequest, context: Context
    ) -> order_saga_service_pb2.BatchCloseOrdersResponse:
        principal = principal_of(context)
        outcomes = await self.closures.submit_all(
            [close_command(one, principal) for one in request.requests],
            timeout_seconds=context.time_remaining(),
        )
        return order_saga_service_pb2.BatchCloseOrdersResponse(
            results=batch_results(
                outcomes,
                order_saga_service_pb2.CloseOrderResult,
                order_saga_service_pb2.CloseOrderResponse,
                order_failure,
            )
        )
