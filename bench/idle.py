"""What the services take when nobody asks for anything: memory, time to start, CPU."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trackops.order.v1 import order_service_pb2

from bench.figures import Figure, at_most
from bench.mesh import mesh
from bench.processes import cpu_seconds, little_server, process_of
from bench.run import Run
from trackops_cli.local.server import Server
from trackops_cli.local.stack import LocalStack

__all__ = ["measure"]

_SECONDS = 15
_SETTLE_SECONDS = 5


def measure(run: Run) -> Iterator[Figure]:
    with mesh(run) as stack:
        rounds = [_once(run, stack) for _ in run.each_round("an idle mesh")]
    heaviest = max(rounds[-1].megabytes, key=lambda name: rounds[-1].megabytes[name])
    slowest = max(rounds[-1].start_seconds, key=lambda name: rounds[-1].start_seconds[name])
    yield Figure(
        "rss_mb_max",
        f"memory of the heaviest service, idle: {heaviest}",
        "MB",
        [max(one.megabytes.values()) for one in rounds],
        "MB of a bare grpc.aio echo",
        [one.echo_megabytes for one in rounds],
        at_most(140),
    )
    yield Figure(
        "start_s_max",
        f"from a process's start until it serves, the slowest service: {slowest}",
        "s",
        [max(one.start_seconds.values()) for one in rounds],
        "s of a bare grpc.aio echo",
        [one.echo_start_seconds for one in rounds],
        at_most(4),
    )
    yield Figure(
        "idle_cpu_percent",
        "CPU of all services together without traffic, of one core",
        "%",
        [one.services_percent for one in rounds],
        "% of Postgres, Redis and Kafka meanwhile",
        [one.servers_percent for one in rounds],
        at_most(5),
    )


@dataclass(frozen=True)
class _Round:
    start_seconds: Mapping[str, float]
    """By service; 1 MB is 10⁶ bytes."""
    megabytes: Mapping[str, float]
    services_percent: float
    servers_percent: float
    echo_start_seconds: float
    echo_megabytes: float


def _once(run: Run, stack: LocalStack) -> _Round:
    starts = {name: _restart_seconds(service) for name, service in stack.services.items()}
    time.sleep(_SETTLE_SECONDS)
    services, servers = _idle_percent(
        run, tuple(stack.services.values()), (stack.postgres, stack.redis, stack.kafka)
    )
    megabytes = {name: _megabytes(service) for name, service in stack.services.items()}
    message = order_service_pb2.GetOrderResponse().SerializeToString()
    with little_server("bench.echo_server", message) as echo:
        rss = echo.process.memory_info().rss / 1e6
    return _Round(starts, megabytes, services, servers, echo.start_seconds, rss)


def _restart_seconds(service: Server) -> float:
    """Alone, while all the others run."""
    service.stop()
    began = time.monotonic()
    service.start()
    return time.monotonic() - began


def _idle_percent(run: Run, *groups: tuple[Server, ...]) -> list[float]:
    """Of one core, each group's over the same time."""
    before = [cpu_seconds(*group) for group in groups]
    began = time.monotonic()
    time.sleep(run.seconds(_SECONDS))
    seconds = time.monotonic() - began
    return [
        100 * (cpu_seconds(*group) - cpu) / seconds
        for group, cpu in zip(groups, before, strict=True)
    ]


def _megabytes(service: Server) -> float:
    return float(process_of(service).memory_info().rss) / 1e6
