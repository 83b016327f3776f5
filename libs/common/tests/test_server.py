from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from structlog.testing import capture_logs

from trackops_cli.local.ports import Ports
from trackops_cli.testing import wait_for
from trackops_common.errors import DependencyUnavailable
from trackops_common.grpc.server import wait_for_dependency
from trackops_common.testing import ServiceProcess


class Dependency:
    """Answers from the n-th check on."""

    def __init__(self, *, answers_at: int) -> None:
        self.checks = 0
        self._answers_at = answers_at

    def check(self) -> None:
        self.checks += 1
        if self.checks < self._answers_at:
            raise DependencyUnavailable("it")


async def test_a_dependency_that_comes_is_waited_for_with_a_line_each_time() -> None:
    dependency = Dependency(answers_at=4)

    with capture_logs() as logs:
        await wait_for_dependency("it", dependency.check, timeout_seconds=30, pause_seconds=0)

    assert dependency.checks == 4
    assert [line["dependency"] for line in logs] == ["it"] * 3


async def test_a_dependency_that_stays_away_is_given_up() -> None:
    dependency = Dependency(answers_at=10**9)
    started = time.monotonic()

    with pytest.raises(DependencyUnavailable):
        await wait_for_dependency("it", dependency.check, timeout_seconds=0.05, pause_seconds=0.01)

    assert time.monotonic() - started >= 0.05
    assert dependency.checks >= 1


PROGRAM = """
import asyncio
import contextlib
from trackops_common.grpc.server import Application, run
from trackops_common.settings import ServiceSettings

async def task():
    {task}

@contextlib.asynccontextmanager
async def bootstrap(settings):
    {bootstrap}
    yield Application(
        [],
        background=[asyncio.create_task(task(), name="the feed")],
        dependencies={dependencies},
    )
    print("left in order", flush=True)

run("a_service", ServiceSettings, bootstrap)
"""


class Programs:
    """Starts services whose parts are given as code."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.started: list[ServiceProcess] = []

    def start(
        self,
        *,
        task: str = "await asyncio.Event().wait()",
        bootstrap: str = "pass",
        dependencies: str = "{}",
        **settings: str,
    ) -> ServiceProcess:
        program = PROGRAM.format(task=task, bootstrap=bootstrap, dependencies=dependencies)
        (self._folder / "a_service.py").write_text(program)
        needed = {"TRACKOPS_LISTEN": "127.0.0.1:0", "TRACKOPS_DATABASE_URL": "postgresql://x"}
        process = ServiceProcess("a_service", needed | settings, self._folder / "log")
        self.started.append(process)
        return process


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = Programs(tmp_path)
    yield made
    for process in made.started:
        process.kill()


def test_a_service_stops_in_order_when_it_is_told_to(programs: Programs) -> None:
    process = programs.start()
    process.wait_logged("serving")

    process.terminate()

    assert process.wait() == 0
    assert "left in order" in process.output
    assert process.logged("stopped")


def test_a_service_whose_background_fails_goes_down_with_it(programs: Programs) -> None:
    process = programs.start(task="raise OSError('the disk is gone')")

    assert process.wait() != 0
    (line,) = process.logged("stopped by a defect")
    assert line["exception"].endswith("OSError: the disk is gone")


def test_a_service_whose_background_ends_by_itself_goes_down_and_names_it(
    programs: Programs,
) -> None:
    process = programs.start(task="pass")

    assert process.wait() != 0
    (line,) = process.logged("stopped by a defect")
    assert line["exception"].endswith("background task the feed ended by itself")


def test_a_service_whose_check_of_a_dependency_is_broken_goes_down_and_says_how(
    programs: Programs,
) -> None:
    process = programs.start(dependencies="{'it': lambda: 1 / 0}")

    assert process.wait() != 0
    (line,) = process.logged("stopped by a defect")
    assert "ZeroDivisionError: division by zero" in line["exception"]


def test_a_start_that_is_refused_is_one_line(programs: Programs) -> None:
    process = programs.start(
        bootstrap="from trackops_common.errors import StartRefused; raise StartRefused('not so')"
    )

    assert process.wait() == 1
    assert process.logged("cannot serve")[0]["error"] == "not so"
    assert len(process.output) == 1


def test_a_service_can_be_stopped_while_it_is_still_starting(programs: Programs) -> None:
    process = programs.start(
        bootstrap="print('starting', flush=True); await asyncio.Event().wait()"
    )
    wait_for(lambda: "starting" in process.output)

    process.terminate()

    assert process.wait(seconds=5) != 0


@pytest.mark.parametrize(("environment", "shows"), [("development", True), ("production", False)])
def test_only_in_development_a_server_shows_its_insides_to_whoever_asks(
    programs: Programs, environment: str, shows: bool
) -> None:
    target = f"127.0.0.1:{Ports.free().order}"
    programs.start(TRACKOPS_LISTEN=target, TRACKOPS_ENVIRONMENT=environment).wait_logged("serving")

    with grpc.insecure_channel(target) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        channelz = channelz_pb2_grpc.ChannelzStub(channel)
        asks: list[Callable[[], Any]] = [
            lambda: ProtoReflectionDescriptorDatabase(channel).get_services(),
            lambda: channelz.GetServers(channelz_pb2.GetServersRequest()),
        ]
        for ask in asks:
            if shows:
                ask()
            else:
                with pytest.raises(grpc.RpcError) as refused:
                    ask()
                assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_client_is_sent_away_after_a_while_and_its_stream_goes_on(programs: Programs) -> None:
    target = f"127.0.0.1:{Ports.free().order}"
    process = programs.start(TRACKOPS_LISTEN=target, TRACKOPS_MAX_CONNECTION_AGE_SECONDS="1")
    process.wait_logged("serving")
    states: list[grpc.ChannelConnectivity] = []

    with grpc.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        stream = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(stream).status == health_pb2.HealthCheckResponse.SERVING
        channel.subscribe(states.append)
        wait_for(lambda: grpc.ChannelConnectivity.READY in states)
        wait_for(lambda: states[-1] is grpc.ChannelConnectivity.IDLE, what="the client has left")
        assert stub.Check(health_pb2.HealthCheckRequest()).status, "it connects again"

        process.terminate()
        assert next(stream).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_service_that_finds_no_identity_service_does_not_serve(programs: Programs) -> None:
    process = programs.start(
        TRACKOPS_IDENTITY_TARGET="127.0.0.1:1", TRACKOPS_START_TIMEOUT_SECONDS="0.1"
    )

    assert process.wait() == 1
    assert "serving" not in process.events
    assert "keys of access tokens" in process.logged("cannot serve")[0]["error"]


def test_a_service_that_is_not_told_of_one_is_refused_in_one_line(programs: Programs) -> None:
    process = programs.start(TRACKOPS_IDENTITY_TARGET="")

    assert process.wait() == 1
    assert "TRACKOPS_IDENTITY_TARGET is missing" in process.logged("cannot serve")[0]["error"]
