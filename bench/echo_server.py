"""The least that a Python gRPC server can do: `grpc.aio` answering with the message it got.

    python -m bench.echo_server 127.0.0.1:6000 < encoded-GetOrderResponse

It runs on the same event loop as the services. It decodes the request that
GetOrder gets and encodes the response that GetOrder gives, read from standard input.
"""

from __future__ import annotations

import sys
from typing import Any

import grpc
import uvloop
from trackops.order.v1 import order_service_pb2


async def serve(address: str, response: order_service_pb2.GetOrderResponse) -> None:
    """Answer until killed."""

    async def echo(_request: Any, _context: Any) -> order_service_pb2.GetOrderResponse:
        return response

    handler = grpc.unary_unary_rpc_method_handler(
        echo,
        request_deserializer=order_service_pb2.GetOrderRequest.FromString,
        response_serializer=order_service_pb2.GetOrderResponse.SerializeToString,
    )
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),)
    )
    server.add_insecure_port(address)
    await server.start()
    print("serving", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(
        serve(
            sys.argv[1],
            order_service_pb2.GetOrderResponse.FromString(sys.stdin.buffer.read()),
        )
    )
