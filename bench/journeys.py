"""A load of whole ways: CreateOrder, then WatchOrder until it says CONFIRMED.

    python -m bench.journeys 127.0.0.1:5051 --seconds 20 --rate 100

A latency goes from when CreateOrder was to be sent until the watch has said
CONFIRMED. Prints what `bench.load` prints, and of CreateOrder alone
created_p50_ms and created_p99_ms.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import uvloop
from trackops.order.v1 import order_pb2, order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from bench.figures import percentile
from bench.load import CREATE_ORDER, Load, create_order_requests


class Journeys(Load):
    """Each call goes on until the order is CONFIRMED; one that ends otherwise ends the load."""

    def __init__(self, target: str, seconds: float) -> None:
        super().__init__(target, CREATE_ORDER, create_order_requests(), seconds)
        stub: Any = OrderServiceStub(self.channel)
        self._watch = stub.WatchOrder
        self.created: list[float] = []
        """How long CreateOrder took, in seconds."""

    async def send(self, request: bytes) -> bytes:
        began = time.monotonic()
        answer = await super().send(request)
        self.created.append(time.monotonic() - began)
        order_id = order_service_pb2.CreateOrderResponse.FromString(answer).order.order_id
        stream = self._watch(
            order_service_pb2.WatchOrderRequest(order_id=order_id),
            timeout=30,
            metadata=self.metadata,
        )
        async for change in stream:
            if change.entry.state == order_pb2.ORDER_STATE_CONFIRMED:
                stream.cancel()
                return answer
        raise SystemExit(f"bench: order {order_id} was not confirmed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=100)
    options = parser.parse_args()

    async def run() -> dict[str, float]:
        journeys = Journeys(options.target, options.seconds)
        summary = await journeys.run(in_flight=0, rate=options.rate)
        for percent in (50, 99):
            created = 1000 * percentile(journeys.created, percent)
            summary[f"created_p{percent}_ms"] = round(created, 2)
        return summary

    print(json.dumps(uvloop.run(run())))


if __name__ == "__main__":
    main()
