"""A load generator: one process, calls in flight or calls a second, for a fixed time.

    python -m bench.load create-order 127.0.0.1:5051 --seconds 10 --in-flight 128
    python -m bench.load create-order 127.0.0.1:5051 --seconds 10 --rate 500

It sends messages that were encoded beforehand and does not decode the answers,
so that it costs as little as a Python client can. Prints one JSON object:
calls and errors (both with the warm-up's), and of the time after the warm-up
per_s, p50_ms, p90_ms, p99_ms, cpu_share (of one core: near 1.0, the generator
is the limit and not the server).
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

from bench.backlog import Backlog
from bench.channels import open_channel
from bench.figures import percentile
from bench.tokens import bearer

__all__ = ["WARM_UP_SECONDS", "Load", "Tally", "create_order_requests"]

WARM_UP_SECONDS = 2.0
CREATE_ORDER = "/trackops.order.v1.OrderService/CreateOrder"


@dataclass
class Tally:
    """What was counted."""

    latencies: list[float] = field(default_factory=list)
    """Between warm-up and end, in seconds."""
    sent: int = 0
    answered: int = 0
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
            payment_method_token="tok_visa",  # noqa: S106 - a method of the simulator
        ).SerializeToString()


def get_order_requests(order_ids: list[str]) -> Iterator[bytes]:
    """Encoded GetOrderRequests of random ones of `order_ids`."""
    encoded = [
        order_service_pb2.GetOrderRequest(order_id=order_id).SerializeToString()
        for order_id in order_ids
    ]
    while True:
        yield random.choice(encoded)


class Load:
    """Calls of one method from `begin` to `end` (monotonic clock), after a warm-up."""

    def __init__(
        self,
        target: str,
        method: str,
        requests: Iterator[bytes],
        seconds: float,
        backlog: Backlog | None = None,
    ) -> None:
        """Clients wait for room in `backlog` before they send."""
        self.channel = open_channel(target)
        self.metadata = bearer() if method.startswith("/trackops.") else ()
        self._call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        self._call = self.channel.unary_unary(method)
        self._requests = requests
        self._backlog = backlog
        self._begin = time.monotonic() + WARM_UP_SECONDS
        self._end = self._begin + seconds
        self._seconds = seconds
        self.tally = Tally()

    async def run(self, *, in_flight: int, rate: float) -> dict[str, float]:
        """Send `rate` calls a second, or keep `in_flight` open where it is 0."""
        clients = [self._pacemaker(rate)] if rate else [self._client() for _ in range(in_flight)]
        watching = asyncio.create_task(self._watch_backlog())
        cpu_at_begin, *_ = await asyncio.gather(self._cpu_at_begin(), *clients)
        cpu = time.process_time() - (cpu_at_begin or 0.0)
        watching.cancel()
        await self.channel.close()
        return _summary(self.tally, self._seconds, cpu)

    async def send(self, request: bytes) -> bytes:
        """One call, as a subclass may extend it; raises `grpc.aio.AioRpcError`."""
        return await self._call(request, timeout=30, metadata=self.metadata)

    async def _client(self) -> None:
        while (now := time.monotonic()) < self._end:
            if self._backlog is not None:
                await self._backlog.room(lambda: self.tally.sent)
            await self._send(now)

    async def _watch_backlog(self) -> None:
        if self._backlog is not None:
            await self._backlog.watch(lambda: self.tally.answered)

    async def _pacemaker(self, rate: float) -> None:
        """Sends on time, whatever the answers take; latency counts from that time."""
        due, calls = time.monotonic(), set[asyncio.Task[None]]()
        while due < self._end:
            await asyncio.sleep(due - time.monotonic())
            task = asyncio.create_task(self._send(due))
            calls.add(task)
            task.add_done_callback(calls.discard)
            due += 1 / rate
        await asyncio.gather(*calls)

    async def _send(self, due: float) -> None:
        self.tally.sent += 1
        try:
            await self.send(next(self._requests))
            self.tally.answered += 1
        except grpc.aio.AioRpcError:
            self.tally.errors += 1
        if due >= self._begin:
            self.tally.latencies.append(time.monotonic() - due)

    async def _cpu_at_begin(self) -> float:
        await asyncio.sleep(max(0.0, self._begin - time.monotonic()))
        return time.process_time()


def _summary(tally: Tally, seconds: float, cpu: float) -> dict[str, float]:
    parts = {f"p{percent}_ms": percentile(tally.latencies, percent) for percent in (50, 90, 99)}
    return {
        "calls": tally.answered,
        "errors": tally.errors,
        "per_s": round(len(tally.latencies) / seconds, 1),
        **{name: round(1000 * latency, 2) for name, latency in parts.items()},
        "cpu_share": round(cpu / seconds, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("load", choices=("create-order", "get-order", "echo"))
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0, help="calls a second, sent on time")
    parser.add_argument("--order-ids", default="", help="comma-separated; for get-order and echo")
    parser.add_argument("--backlog", type=int, help="orders that may be on their way; see there")
    options = parser.parse_args()
    ids = options.order_ids.split(",")
    method, requests = {
        "create-order": (CREATE_ORDER, create_order_requests()),
        "get-order": ("/trackops.order.v1.OrderService/GetOrder", get_order_requests(ids)),
        "echo": ("/bench.Echo/Echo", get_order_requests(ids)),
    }[options.load]
    backlog = Backlog(options.backlog) if options.backlog else None

    async def run() -> dict[str, float]:
        load = Load(options.target, method, requests, options.seconds, backlog)
        return await load.run(in_flight=options.in_flight, rate=options.rate)

    print(json.dumps(uvloop.run(run())))


if __name__ == "__main__":
    main()
