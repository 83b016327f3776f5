"""A watch outlives the streams that carry it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing
from itertools import islice
from typing import Any

import grpc
import pytest
from trackops.order.v1.order_service_pb2 import (
    TimelineEntry,
    WatchOrderRequest,
    WatchOrderResponse,
)
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_client import (
    TrackOpsError,
    open_aio_channel,
    open_channel,
    watch_order,
    watch_order_aio,
)
from trackops_client.testing import Answer, FakeServer, failing

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
ORDER = "6f1c0000-0000-4000-8000-00000000000a"

Watch = Callable[..., list[int]]
"""Watches at a server; the versions seen until the end, or the first `count`."""


def _sync(server: FakeServer, count: int | None = None, **options: Any) -> list[int]:
    with (
        open_channel(server.target, timeout_seconds=0.2) as channel,
        closing(watch_order(channel, ORDER, **options)) as messages,
    ):
        return [message.entry.version for message in islice(messages, count)]


def _aio(server: FakeServer, count: int | None = None, **options: Any) -> list[int]:
    async def watch() -> list[int]:
        versions: list[int] = []
        async with (
            open_aio_channel(server.target, timeout_seconds=0.2) as channel,
            aclosing(watch_order_aio(channel, ORDER, **options)) as messages,
        ):
            while count is None or len(versions) < count:
                try:
                    versions.append((await anext(messages)).entry.version)
                except StopAsyncIteration:
                    break
        return versions

    return asyncio.run(watch())


@pytest.fixture(params=[_sync, _aio], ids=["grpc", "grpc.aio"])
def watch(request: pytest.FixtureRequest) -> Watch:
    chosen: Watch = request.param
    return chosen


def _changes(*versions: int, then: grpc.StatusCode | None = None) -> Answer:
    """Messages of these versions, and then an end: OK or a failure."""

    def answer(context: grpc.ServicerContext) -> Iterator[WatchOrderResponse]:
        for version in versions:
            yield WatchOrderResponse(entry=TimelineEntry(version=version))
        if then is not None:
            context.abort(then, "told so")

    return answer


def _resumed_after(server: FakeServer) -> list[int]:
    return [one.request.after_version for one in server.received]


def test_a_stream_that_breaks_off_is_resumed_after_the_last_version(
    server: FakeServer, watch: Watch
) -> None:
    server.answers += [_changes(3, 4, then=UNAVAILABLE), _changes(5, then=UNAVAILABLE), _changes(6)]

    assert watch(server) == [3, 4, 5, 6]

    assert _resumed_after(server) == [0, 4, 5]


def test_a_stream_that_breaks_off_before_its_first_message_begins_again(
    server: FakeServer, watch: Watch
) -> None:
    server.answers += [failing(UNAVAILABLE)] * 6 + [_changes(3)]

    assert watch(server, after_version=2) == [3]

    assert _resumed_after(server) == [2] * 7


def test_the_deadline_that_calls_have_by_default_does_not_cut_a_stream(
    server: FakeServer, watch: Watch
) -> None:
    server.answers += [_changes(1)]

    assert watch(server) == [1]

    assert [one.seconds_left for one in server.received] == [None]


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT])
def test_what_cannot_be_watched_is_told_at_once(
    server: FakeServer, watch: Watch, code: grpc.StatusCode
) -> None:
    server.answers += [_changes(1, then=code), _changes(2)]

    with pytest.raises(TrackOpsError) as failed:
        watch(server)

    assert failed.value.code is code
    assert len(server.received) == 1


def test_patience_ends(server: FakeServer, watch: Watch) -> None:
    server.answers += [_changes(1, then=UNAVAILABLE)] + [failing(UNAVAILABLE)] * 1000

    with pytest.raises(TrackOpsError) as failed:
        watch(server, patience_seconds=0.3)

    assert failed.value.code is UNAVAILABLE
    assert len(server.received) > 1


def test_a_watch_that_is_left_ends_at_the_server(server: FakeServer, watch: Watch) -> None:
    ended = threading.Event()

    def endless(context: grpc.ServicerContext) -> Iterator[WatchOrderResponse]:
        context.add_callback(ended.set)
        yield from (
            WatchOrderResponse(entry=TimelineEntry(version=version)) for version in range(1, 10**6)
        )

    server.answers += [endless]

    assert watch(server, count=3) == [1, 2, 3]
    assert ended.wait(10)


def test_the_stub_alone_does_not_resume_a_stream_that_has_begun(server: FakeServer) -> None:
    """What the channel repeats is only what has told the caller nothing yet."""
    server.answers += [failing(UNAVAILABLE), _changes(1, then=UNAVAILABLE), _changes(2)]
    with open_channel(server.target) as channel:
        call = OrderServiceStub(channel).WatchOrder(WatchOrderRequest(order_id=ORDER))

        assert next(call).entry.version == 1
        with pytest.raises(grpc.RpcError):
            next(call)

    assert len(server.received) == 2
