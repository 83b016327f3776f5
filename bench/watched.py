"""Open streams: orders that are watched while others are created.

    python -m bench.watched 127.0.0.1:5051 --streams 1000

Creates as many orders and watches each over one of ten connections. Says
`open` when every stream has had its first message, and holds them until its
standard input ends; a stream that ends before is a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import islice
from typing import Any

import grpc
import uvloop
from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from bench.load import create_order_requests
from bench.tokens import bearer

__all__ = ["open_streams"]

_CONNECTIONS = 10
_FEED_STOPS_SECONDS = 6
"""How long the server goes on reading events when nobody watches any more, and a bit."""


@contextmanager
def open_streams(target: str, count: int) -> Iterator[None]:
    """A process that holds `count` streams; afterwards the server is as it was before.

    Raises:
        SystemExit: not all could be opened, or one ended before it should.
    """
    command = [sys.executable, "-m", "bench.watched", target, "--streams", str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        if holder.stdin is None or holder.stdout is None:
            raise RuntimeError("the process that holds the streams has no pipes")
        if holder.stdout.readline() != "open\n":
            raise SystemExit("bench: the streams could not be opened")
        yield
        holder.stdin.close()
    if holder.returncode:
        raise SystemExit("bench: a stream ended before it should")
    time.sleep(_FEED_STOPS_SECONDS)


async def _hold(target: str, count: int) -> None:
    async with AsyncExitStack() as stack:
        stubs: list[Any] = [
            OrderServiceStub(
                await stack.enter_async_context(
                    grpc.aio.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)])
                )
            )
            for _ in range(_CONNECTIONS)
        ]
        ids = [order_id for _ in range(count // 100) for order_id in await _create(stubs[0], 100)]
        streams = [
            stubs[number % _CONNECTIONS].WatchOrder(
                order_service_pb2.WatchOrderRequest(order_id=order_id), metadata=bearer()
            )
            for number, order_id in enumerate(ids)
        ]
        await asyncio.gather(*(stream.read() for stream in streams))
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        ended = sum(stream.done() for stream in streams)
    if ended:
        sys.exit(1)


async def _create(stub: Any, count: int) -> list[str]:
    requests = [
        order_service_pb2.CreateOrderRequest.FromString(one)
        for one in islice(create_order_requests(), count)
    ]
    answer = await stub.BatchCreateOrders(
        order_service_pb2.BatchCreateOrdersRequest(requests=requests), metadata=bearer()
    )
    return [result.response.order.order_id for result in answer.results]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--streams", type=int, default=1000, help="a multiple of 100")
    options = parser.parse_args()
    uvloop.run(_hold(options.target, options.streams))


if __name__ == "__main__":
    main()
