"""A gRPC server that stands for every participant and answers as it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from trackops.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc
from trackops.order.v1 import order_saga_service_pb2, order_saga_service_pb2_grpc
from trackops.payment.v1 import payment_service_pb2, payment_service_pb2_grpc

from trackops_common.grpc.failures import status_details


def status(code: int, message: str = "no", reason: str = "") -> status_pb2.Status:
    made = status_pb2.Status(code=code, message=message)
    if reason:
        made.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="trackops"))
    return made


class Participant:
    """Serves all three contracts."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.items: dict[str, status_pb2.Status] = {}
        """Errors of single items, by order id."""
        self.whole: Callable[[Sequence[Any]], status_pb2.Status | None] = lambda _: None
        """Error of a whole call, by its requests."""
        self.drop_results = 0

    async def answer(self, request: Any, context: Any, response: Any, result: Any) -> Any:
        self.requests.append(request)
        if failure := self.whole(request.requests):
            code = next(one for one in grpc.StatusCode if one.value[0] == failure.code)
            await context.abort(code, failure.message, (status_details(failure),))
        results = [
            result(error=self.items[one.order_id])
            if one.order_id in self.items
            else result(response={})
            for one in request.requests
        ]
        return response(results=results[self.drop_results :])


def _servicer(base: type, module: Any, methods: dict[str, str], participant: Participant) -> Any:
    """An instance of the generated `base`: RPC name -> name of its result message."""

    def method(rpc: str, result: str) -> Any:
        async def call(_self: Any, request: Any, context: Any) -> Any:
            response = getattr(module, f"{rpc}Response")
            return await participant.answer(request, context, response, getattr(module, result))

        return call

    return type("Servicer", (base,), {rpc: method(rpc, one) for rpc, one in methods.items()})()


def serving(participant: Participant) -> AbstractAsyncContextManager[str]:
    """Serves it on a free port; the target to reach it."""
    return serving_on(participant, port=0)


@asynccontextmanager
async def serving_on(participant: Participant, *, port: int) -> AsyncIterator[str]:
    """Serves it on a port, 0 for a free one; the target to reach it."""
    server = grpc.aio.server()
    inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server(
        _servicer(
            inventory_service_pb2_grpc.InventoryServiceServicer,
            inventory_service_pb2,
            {
                "BatchReserveStock": "ReserveStockResult",
                "BatchReleaseStock": "ReleaseStockResult",
                "BatchCommitStock": "CommitStockResult",
                "BatchRestockItems": "RestockItemsResult",
            },
            participant,
        ),
        server,
    )
    payment_service_pb2_grpc.add_PaymentServiceServicer_to_server(
        _servicer(
            payment_service_pb2_grpc.PaymentServiceServicer,
            payment_service_pb2,
            {
                "BatchAuthorizePayments": "AuthorizePaymentResult",
                "BatchVoidPayments": "VoidPaymentResult",
                "BatchCapturePayments": "CapturePaymentResult",
                "BatchRefundPayments": "RefundPaymentResult",
            },
            participant,
        ),
        server,
    )
    order_saga_service_pb2_grpc.add_OrderSagaServiceServicer_to_server(
        _servicer(
            order_saga_service_pb2_grpc.OrderSagaServiceServicer,
            order_saga_service_pb2,
            {"BatchConfirmOrders": "ConfirmOrderResult", "BatchCloseOrders": "CloseOrderResult"},
            participant,
        ),
        server,
    )
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
