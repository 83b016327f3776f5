from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from trackops.common.v1 import admin_service_pb2 as pb
from trackops.common.v1 import admin_service_pb2_grpc as rpc
from typer.testing import CliRunner, Result

from trackops_cli.main import app
from trackops_cli.testing import command_environment


class Process:
    """Answers as a service would whose Redis is away; remembers what it is asked."""

    def __init__(self) -> None:
        self.health = pb.SERVICE_HEALTH_DEGRADED
        self.requests: list[Any] = []

    def GetStatus(self, _request: Any, _context: Any) -> pb.GetStatusResponse:
        redis = pb.DependencyStatus(name="Redis", error="[refused]")
        return pb.GetStatusResponse(
            service="order", version="1.2", health=self.health, reason="x", dependencies=[redis]
        )

    def ListLogLevels(self, _request: Any, _context: Any) -> pb.ListLogLevelsResponse:
        level = pb.LoggerLevel(logger="trackops_order", level=pb.LOG_LEVEL_DEBUG)
        return pb.ListLogLevelsResponse(levels=[level])

    def SetLogLevel(self, request: Any, _context: Any) -> pb.SetLogLevelResponse:
        self.requests.append(request)
        end = Timestamp()
        end.FromDatetime(datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
        return pb.SetLogLevelResponse(end_time=end, then=pb.LOG_LEVEL_INFO)


class World:
    def __init__(self, target: str, process: Process, home: Path) -> None:
        self.target = target
        self.process = process
        self._environment = command_environment(home)

    def run(self, *words: str) -> Result:
        command = ["service", *words, "--target", self.target]
        return CliRunner().invoke(app, command, env=self._environment)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    process = Process()
    server = grpc.server(ThreadPoolExecutor(1))
    rpc.add_AdminServiceServicer_to_server(cast("Any", process), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield World(f"127.0.0.1:{port}", process, tmp_path)
    server.stop(None).wait()


def test_status_tells_what_is_away(world: World) -> None:
    result = world.run("status", "order")

    assert result.exit_code == 0, result.output
    assert "order 1.2" in result.output
    assert "DEGRADED: x" in result.output
    assert "[refused]" in result.output


def test_status_of_what_does_not_serve_is_a_failure(world: World) -> None:
    world.process.health = pb.SERVICE_HEALTH_NOT_SERVING

    assert world.run("status", "order").exit_code == 1


def test_unknown_service_is_named(world: World) -> None:
    result = world.run("status", "orders")

    assert result.exit_code == 2
    assert "'orders' is none of" in result.output


def test_levels_are_listed(world: World) -> None:
    assert "trackops_order  debug" in world.run("log-levels", "order").output


def test_level_is_changed_for_a_while(world: World) -> None:
    result = world.run("log-level", "order", "debug", "--logger", "trackops_order")

    assert "until 2026-01-02 03:04:00.000 UTC, then info again" in result.output
    (request,) = world.process.requests
    assert (request.logger, request.level) == ("trackops_order", pb.LOG_LEVEL_DEBUG)
    assert request.lasts.seconds == 1800
    assert world.run("log-level", "order", "loud").exit_code == 2
