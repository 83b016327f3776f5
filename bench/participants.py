"""Stock and payment that agree to everything at once, so that a saga costs what it costs itself.

python -m bench.participants 127.0.0.1:6001
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import uvloop
from trackops.inventory.v1 import inventory_service_pb2
from trackops.payment.v1 import payment_service_pb2

_BATCHES = {
    "trackops.inventory.v1.InventoryService": (
        ("BatchReserveStock", inventory_service_pb2, "ReserveStockResult"),
        ("BatchReleaseStock", inventory_service_pb2, "ReleaseStockResult"),
    ),
    "trackops.payment.v1.PaymentService": (
        ("BatchAuthorizePayments", payment_service_pb2, "AuthorizePaymentResult"),
        ("BatchVoidPayments", payment_service_pb2, "VoidPaymentResult"),
    ),
}


def _agreeing(rpc: str, module: Any, result: str) -> Any:
    response, one = getattr(module, f"{rpc}Response"), getattr(module, result)(response={})

    async def answer(request: Any, _context: Any) -> Any:
        return response(results=[one] * len(request.requests))

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=getattr(module, f"{rpc}Request").FromString,
        response_serializer=response.SerializeToString,
    )


async def serve(address: str) -> None:
    """Answer until killed."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    for service, rpcs in _BATCHES.items():
        handlers = {rpc: _agreeing(rpc, module, result) for rpc, module, result in rpcs}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(address)
    await server.start()
    print("serving", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve(sys.argv[1]))
