"""A load that does not wait for answers: CreateOrder at the rates of a plan, each call's fate kept.

    python -m bench.offered 127.0.0.1:5051 --plan 250x10,2500x60,250x15

Calls leave on time, however many are under way, with the deadline of a client:
what is under way is bounded by rate and deadline alone. They are encoded before
the first leaves. Prints one JSON object: cpu_share (of one core) and behind_s
(by how much the last call left too late: above a tenth of a second, the
generator was the limit), both of its busiest step; calls, each as
[due, seconds, status, retry_after_seconds or null, order id or ""], due in
seconds since the first; unended, how many more there were whose deadline brought no end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import grpc
import uvloop
from google.rpc import error_details_pb2, status_pb2
from trackops.order.v1 import order_service_pb2

from bench.channels import open_channel
from bench.load import CREATE_ORDER, create_order_requests
from bench.tokens import bearer

__all__ = ["Step", "plan_of"]

DEADLINE_SECONDS = 2.0
_CONNECTIONS = 8
_STATUS_DETAILS = "grpc-status-details-bin"

Call = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


@dataclass(frozen=True)
class Step:
    """Calls a second, for some seconds."""

    rate: float
    seconds: float

    @property
    def calls(self) -> int:
        return round(self.rate * self.seconds)


def plan_of(text: str) -> Sequence[Step]:
    """`rate x seconds`, comma-separated."""
    return [Step(*map(float, step.split("x"))) for step in text.split(",")]


@dataclass(slots=True)
class _Answer:
    """What came of a call, as it came: it is read when the load is over."""

    due: float
    seconds: float
    body: bytes = b""
    error: grpc.aio.AioRpcError | None = None


class Offered:
    """Calls of CreateOrder at a target."""

    def __init__(self, target: str, requests: Sequence[bytes]) -> None:
        self._channels = [
            open_channel(target, [("grpc.use_local_subchannel_pool", 1)])
            for _ in range(_CONNECTIONS)
        ]
        calls: list[Call] = [channel.unary_unary(CREATE_ORDER) for channel in self._channels]
        self._calls = cycle(calls)
        self._requests = iter(requests)
        self._metadata = bearer()
        self._under_way = set[asyncio.Task[None]]()
        self.answers: list[_Answer] = []
        self.behind_seconds = 0.0
        self.cpu_share = 0.0
        self.unended = 0
        """Calls that were still under way long after their deadline."""

    async def run(self, plan: Sequence[Step]) -> None:
        """Every step, and then until the last call has ended."""
        await asyncio.gather(*(channel.channel_ready() for channel in self._channels))
        begin = step_begin = time.monotonic()
        for step in plan:
            cpu = time.process_time()
            for due in _moments(step_begin, step):
                if (early := due - time.monotonic()) > 0:
                    await asyncio.sleep(early)
                self._send(due, begin)
            self.behind_seconds = max(self.behind_seconds, time.monotonic() - due)
            self.cpu_share = max(self.cpu_share, (time.process_time() - cpu) / step.seconds)
            step_begin += step.seconds
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=2 * DEADLINE_SECONDS)
        self.unended = len(self._under_way)

    def _send(self, due: float, begin: float) -> None:
        task = asyncio.create_task(self._call(next(self._calls), next(self._requests), due, begin))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _call(self, call: Call, request: bytes, due: float, begin: float) -> None:
        answer = _Answer(due - begin, 0.0)
        try:
            answer.body = await call(request, timeout=DEADLINE_SECONDS, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            answer.error = error
        answer.seconds = time.monotonic() - due
        self.answers.append(answer)


def _moments(begin: float, step: Step) -> Iterator[float]:
    return (begin + number / step.rate for number in range(step.calls))


def _told(answer: _Answer) -> list[object]:
    due, seconds = round(answer.due, 4), round(answer.seconds, 5)
    if answer.error is None:
        order = order_service_pb2.CreateOrderResponse.FromString(answer.body).order
        return [due, seconds, "OK", None, order.order_id]
    return [due, seconds, answer.error.code().name, _retry_after_seconds(answer.error), ""]


def _retry_after_seconds(error: grpc.aio.AioRpcError) -> float | None:
    info = error_details_pb2.RetryInfo()
    for name, value in error.trailing_metadata() or ():
        if name == _STATUS_DETAILS and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return float(info.retry_delay.ToNanoseconds() / 1e9)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--plan", type=plan_of, required=True)
    options = parser.parse_args()
    plan: Sequence[Step] = options.plan
    requests = list(islice(create_order_requests(), sum(step.calls for step in plan)))

    async def run() -> dict[str, object]:
        offered = Offered(options.target, requests)
        await offered.run(plan)
        return {
            "cpu_share": round(offered.cpu_share, 2),
            "behind_s": round(offered.behind_seconds, 3),
            "unended": offered.unended,
            "calls": [_told(answer) for answer in offered.answers],
        }

    print(json.dumps(uvloop.run(run())))


if __name__ == "__main__":
    main()
