"""Fakes for what every service shares, each passing the suite of the real thing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import grpc

from trackops_common.grpc.endpoints import handlers_of
from trackops_common.grpc.server import Application
from trackops_common.idempotency import StoredRequest

__all__ = ["InMemoryRequestStore", "ManualClock", "serving"]


class ManualClock:
    """A `Clock` that moves when it is told to."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, **duration: float) -> None:
        """Move on by a duration, given as `timedelta` takes it."""
        self._now += timedelta(**duration)


class InMemoryRequestStore:
    """A `RequestStore`; `rows` outlives the unit of work that changes it."""

    def __init__(self, rows: dict[UUID, StoredRequest]) -> None:
        self._rows = rows

    def find(self, keys: Iterable[UUID]) -> Sequence[StoredRequest]:
        return [self._rows[key] for key in keys if key in self._rows]

    def save(self, requests: Sequence[StoredRequest]) -> None:
        for request in requests:
            if request.request_key in self._rows:
                raise ValueError(f"request {request.request_key} is stored already")
            self._rows[request.request_key] = request


@asynccontextmanager
async def serving(application: Application) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to `application`, which is served on a free loopback port."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(tuple(map(handlers_of, application.rpc_services)))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]
        ) as channel:
            yield channel
    finally:
        await server.stop(grace=None)
