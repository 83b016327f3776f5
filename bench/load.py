"""A load generator: one process, a fixed number of calls in flight, for a fixed time.

    python -m bench.load create-order 127.0.0.1:5051 --seconds 10 --in-flight 128

It sends messages that were encoded beforehand and does not decode the answers,
so that it costs as little as a Python client can. Prints one JSON object:
calls, errors, seconds, p50_ms, p99_ms, cpu_share (of one core: near 1.0, the
generator is the limit and not the server).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
import uvloop
from trackops.order.v1 import order_pb2, order_service_pb2

_WARM_UP_SECONDS = 2.0


@dataclass
class Tally:
    """What was counted between warm-up and end."""

    latencies: list[float] = field(default_factory=list)
    errors: int = 0


def create_order_requests(skus: int = 100) -> Iterator[bytes]:
    """Encoded CreateOrderRequests of three lines, each with a request id of its own."""
    catalogue = [f"BENCH-{number}" for number in range(skus)]
    while True:
        yield order_service_pb2.CreateOrderRequest(
            request_id=str(uuid.uuid4()),
            customer_id="bench-customer",
            currency_code="EUR",
            lines=[
                order_pb2.OrderLine(sku=sku, quantity=1, unit_price_minor=1999)
                for sku in random.sample(catalogue, 3)
            ],
            payment_method_token="tok_visa",
        ).SerializeToString()


def get_order_requests(order_ids: list[str]) -> Iterator[bytes]:
    """Encoded GetOrderRequests of random ones of `order_ids`."""
    encoded = [
        order_service_pb2.GetOrderRequest(order_id=order_id).SerializeToString()
        for order_id in order_ids
    ]
    while True:
        yield random.choice(encoded)


async def drive(
    target: str, method: str, requests: Iterator[bytes], *, seconds: float, in_flight: int
) -> dict[str, float]:
    """Keep `in_flight` calls of `method` open for `seconds` after a warm-up."""
    tally = Tally()
    async with grpc.aio.insecure_channel(target) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        begin = time.monotonic() + _WARM_UP_SECONDS
        end = begin + seconds

        async def client() -> None:
            while (started := time.monotonic()) < end:
                try:
                    await call(next(requests), timeout=30)
                except grpc.aio.AioRpcError:
                    tally.errors += 1
                if started >= begin:
                    tally.latencies.append(time.monotonic() - started)

        async def cpu_at(moment: float) -> float:
            await asyncio.sleep(max(0.0, moment - time.monotonic()))
            return time.process_time()

        results = await asyncio.gather(cpu_at(begin), *(client() for _ in range(in_flight)))
        cpu = time.process_time() - float(results[0] or 0.0)
    return _summary(tally, seconds, cpu)


def _summary(tally: Tally, seconds: float, cpu: float) -> dict[str, float]:
    latencies = sorted(tally.latencies)
    return {
        "calls": len(latencies),
        "errors": tally.errors,
        "seconds": seconds,
        "per_s": round(len(latencies) / seconds, 1),
        "p50_ms": round(1000 * latencies[len(latencies) // 2], 2),
        "p99_ms": round(1000 * latencies[int(len(latencies) * 0.99)], 2),
        "cpu_share": round(cpu / seconds, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("load", choices=("create-order", "get-order", "echo"))
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--order-ids", help="comma-separated; for get-order and echo")
    options = parser.parse_args()
    ids = (options.order_ids or "").split(",")
    method, requests = {
        "create-order": ("/trackops.order.v1.OrderService/CreateOrder", create_order_requests()),
        "get-order": ("/trackops.order.v1.OrderService/GetOrder", get_order_requests(ids)),
        "echo": ("/bench.Echo/Echo", get_order_requests(ids)),
    }[options.load]
    result = drive(
        options.target, method, requests, seconds=options.seconds, in_flight=options.in_flight
    )
    print(json.dumps(uvloop.run(result)))


if __name__ == "__main__":
    main()
