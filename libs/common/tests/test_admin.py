from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from trackops.common.v1 import admin_service_pb2 as pb
from trackops.common.v1 import admin_service_pb2_grpc as rpc

from trackops_common.grpc.admin import AdminServicer, admin_service
from trackops_common.grpc.endpoints import handlers_of
from trackops_common.probes import Readiness
from trackops_common.testing import eventually
from trackops_common.testing_tokens import access_for_tests, authorized_aio_channel
from trackops_common.vitals import Vitals

LOGGER = "test.admin"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class StoppedClock:
    def now(self) -> datetime:
        return NOW


@dataclass
class Service:
    """A process whose state the test decides."""

    vitals: Vitals = field(default_factory=Vitals)
    readiness: Readiness = field(
        default_factory=lambda: Readiness(serving=True, dependencies=["Postgres"])
    )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Any]:
        server = grpc.aio.server()
        servicer = AdminServicer("order", self.vitals, self.readiness, StoppedClock())
        server.add_generic_rpc_handlers((handlers_of(admin_service(servicer), access_for_tests()),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with authorized_aio_channel(f"127.0.0.1:{port}") as channel:
            yield rpc.AdminServiceStub(channel)
        await server.stop(None)

    async def status(self) -> pb.GetStatusResponse:
        async with self.serving() as stub:
            answer: pb.GetStatusResponse = await stub.GetStatus(pb.GetStatusRequest())
        return answer


@pytest.fixture(autouse=True)
def own_level() -> Iterator[None]:
    yield
    logging.getLogger(LOGGER).setLevel(logging.NOTSET)


async def test_whole_service_is_serving() -> None:
    service = Service()
    service.vitals.workers["loop"] = lambda: 1.5
    service.vitals.optional["Redis"] = lambda: True
    status = await service.status()
    assert (status.service, status.health, status.reason) == (
        "order",
        pb.SERVICE_HEALTH_SERVING,
        "",
    )
    assert status.version
    assert status.start_time.ToDatetime(tzinfo=UTC) == NOW
    assert [(one.name, one.available, one.required) for one in status.dependencies] == [
        ("Postgres", True, True),
        ("Redis", True, False),
    ]
    assert [(one.name, one.busy.ToTimedelta()) for one in status.workers] == [
        ("loop", timedelta(seconds=1.5))
    ]


async def test_service_without_what_it_can_do_without_is_degraded() -> None:
    service = Service()
    service.vitals.optional["Redis"] = lambda: False
    status = await service.status()
    assert (status.health, status.reason) == (
        pb.SERVICE_HEALTH_DEGRADED,
        "does without: Redis",
    )


async def test_service_without_what_it_needs_is_not_serving() -> None:
    service = Service()
    service.vitals.optional["Redis"] = lambda: False
    service.readiness.serving = False
    service.readiness.away["Postgres"] = "connection refused"
    status = await service.status()
    assert (status.health, status.reason) == (
        pb.SERVICE_HEALTH_NOT_SERVING,
        "away: Postgres",
    )
    assert status.dependencies[0].error == "connection refused"


async def test_service_that_stops_says_so() -> None:
    service = Service(readiness=Readiness(serving=False, why="stopping"))
    assert (await service.status()).reason == "stopping"


def lasting(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration


async def test_level_holds_for_a_while_and_comes_back() -> None:
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.ERROR)
    async with Service().serving() as stub:
        wanted = pb.SetLogLevelRequest(logger=LOGGER, level=pb.LOG_LEVEL_DEBUG)
        answer = await stub.SetLogLevel(wanted)
        assert answer.then == pb.LOG_LEVEL_ERROR
        assert answer.end_time.ToDatetime(tzinfo=UTC) == NOW + timedelta(minutes=30)
        assert logger.level == logging.DEBUG
        listed = (await stub.ListLogLevels(pb.ListLogLevelsRequest())).levels
        assert pb.LoggerLevel(logger=LOGGER, level=pb.LOG_LEVEL_DEBUG) in listed
        wanted = pb.SetLogLevelRequest(logger=LOGGER, level=pb.LOG_LEVEL_INFO, lasts=lasting(0.02))
        assert (await stub.SetLogLevel(wanted)).then == pb.LOG_LEVEL_ERROR
        await eventually(lambda: logger.level == logging.ERROR)


async def test_wrong_requests_are_refused() -> None:
    async with Service().serving() as stub:
        for wrong in (
            pb.SetLogLevelRequest(logger="a b", level=pb.LOG_LEVEL_INFO),
            pb.SetLogLevelRequest(level=pb.LOG_LEVEL_INFO, lasts=lasting(0)),
            pb.SetLogLevelRequest(level=pb.LOG_LEVEL_INFO, lasts=lasting(90_000)),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.SetLogLevel(wrong)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
