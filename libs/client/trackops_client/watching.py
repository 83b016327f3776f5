"""An order's changes as one endless stream, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

import grpc
import grpc.aio
from trackops.order.v1.order_service_pb2 import WatchOrderRequest, WatchOrderResponse
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_client.errors import error_of

__all__ = ["watch_order", "watch_order_aio"]

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_STOOD_SECONDS = 5.0
"""A stream that lasted so long was a good one, even if nothing was said on it."""
_TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 - a reason
_RESUMED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


def watch_order(
    channel: grpc.Channel, order_id: str, *, after_version: int = 0, patience_seconds: float = 60.0
) -> Generator[WatchOrderResponse, None, None]:
    """Each change of an order once, in order, until its last; blocks while there is none.

    A stream that breaks off is resumed after the last version seen, at
    whichever replica the channel finds; so is one whose token has expired, with
    a new token of the channel.

    Args:
        channel: from `open_channel`.
        after_version: 0 begins with the order as it is, n with change n + 1.
        patience_seconds: for how long resuming may fail.

    Raises:
        TrackOpsError: the order cannot be watched (ORDER_NOT_FOUND, a version
            it has not reached), or no replica took the watch for too long.
    """
    watch = _Watch(order_id, after_version, patience_seconds)
    orders = OrderServiceStub(channel)
    while True:
        watch.begin()
        call = orders.WatchOrder(watch.request)
        try:
            for message in call:
                watch.note(message)
                yield message
            return
        except grpc.RpcError as error:
            pause = watch.pause_after(error)
        finally:
            call.cancel()
        time.sleep(pause)


async def watch_order_aio(
    channel: grpc.aio.Channel,
    order_id: str,
    *,
    after_version: int = 0,
    patience_seconds: float = 60.0,
) -> AsyncGenerator[WatchOrderResponse, None]:
    """`watch_order` on a channel from `open_aio_channel`."""
    watch = _Watch(order_id, after_version, patience_seconds)
    orders: Any = OrderServiceStub(channel)
    while True:
        watch.begin()
        call = orders.WatchOrder(watch.request)
        try:
            async for message in call:
                watch.note(message)
                yield message
            return
        except grpc.RpcError as error:
            pause = watch.pause_after(error)
        finally:
            call.cancel()
        await asyncio.sleep(pause)


class _Watch:
    """How far a watch has come, and what its streams suffered since one was good."""

    def __init__(self, order_id: str, after_version: int, patience_seconds: float) -> None:
        self.request = WatchOrderRequest(order_id=order_id, after_version=after_version)
        self._patience = patience_seconds
        self._failures = 0
        self._good_at = self._begun_at = time.monotonic()

    def begin(self) -> None:
        self._begun_at = time.monotonic()

    def note(self, message: WatchOrderResponse) -> None:
        self.request.after_version = message.entry.version
        self._failures = 0
        self._good_at = time.monotonic()

    def pause_after(self, error: grpc.RpcError) -> float:
        """Seconds until the next stream; raises TrackOpsError where there is to be none."""
        now, failure = time.monotonic(), error_of(error)
        if now - self._begun_at > _STOOD_SECONDS:
            self._failures, self._good_at = 0, now
        resumed = failure.code in _RESUMED or failure.reason == _TOKEN_EXPIRED
        if not resumed or now - self._good_at > self._patience:
            raise failure from error
        self._failures += 1
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures, 10))
        return (failure.retry_after_seconds or 0.0) + pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
