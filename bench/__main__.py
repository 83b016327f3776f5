"""`make bench`: each figure beside its baseline, in turn, in the same run.

Real servers with durable commits, on ports of their own. A round measures the
baseline and then the service; a figure is the median of the rounds, and the
ratio is the median of the rounds' ratios, so that a machine which slows down
slows both.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table
from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from bench.confirmed import Confirmed, confirmed_orders
from bench.load import create_order_requests
from bench.pgbench import orders_per_second
from bench.relay import RelayFigures, measure_relay
from bench.sagas import SagaFigures, place_order_sagas
from bench.tokens import bearer, call_as_admin_of
from bench.unguarded import unguarded_order_service
from bench.watched import open_streams
from trackops_cli.local.home import Home
from trackops_cli.local.ports import Ports
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import temporary_stack

_ROUNDS = 3
_SECONDS = 8
_IN_FLIGHT = 128
_PGBENCH_CLIENTS = 32
_STREAMS = 1000
_CONFIRM_RATE = 600
_CONFIRM_SECONDS = 20
_GENERATOR_IS_THE_LIMIT = 0.95

_console = Console()


@dataclass(frozen=True)
class Comparison:
    """A figure and its baseline, a pair a round."""

    name: str
    unit: str
    baseline: str
    pairs: list[tuple[float, float]]
    """(figure, baseline)"""

    @property
    def figure(self) -> float:
        return statistics.median(figure for figure, _ in self.pairs)

    @property
    def baseline_figure(self) -> float:
        return statistics.median(base for _, base in self.pairs)

    @property
    def ratio(self) -> float:
        return statistics.median(figure / base for figure, base in self.pairs)

    @property
    def spread(self) -> str:
        ratios = [figure / base for figure, base in self.pairs]
        return f"{min(ratios):.2f} … {max(ratios):.2f}"


def main() -> None:
    with temporary_stack() as stack:
        _say("starting Postgres, Redis, Kafka and the order service")
        stack.start_servers()
        stack.provision()
        stack.services["identity"].start()
        stack.services["order"].start()
        call_as_admin_of(stack)
        create = _create_order(stack)
        guarded = _create_guarded(stack)
        ordered = _pgbench(stack, ordered=True)
        get = _get_order(stack)
        _say("starting the relay, whose events watchers hear of")
        stack.services["outbox_relay"].start()
        watched = _create_watched(stack)
    relay = _relay()
    with temporary_stack() as stack:
        _say(f"starting the whole mesh, for {_CONFIRM_RATE} orders/s from CreateOrder to CONFIRMED")
        stack.up()
        call_as_admin_of(stack)
        confirmed = confirmed_orders(stack, rate=_CONFIRM_RATE, seconds=_CONFIRM_SECONDS)
    with temporary_stack() as stack:
        _say("starting Postgres, Kafka and what place-order sagas need")
        stack.start_servers()
        stack.provision()
        stack.services["identity"].start()
        call_as_admin_of(stack)
        sagas = place_order_sagas(stack)
    _console.print(_table(create, guarded, get, watched))
    _console.print(
        f"pgbench with the outbox lock, which puts commits in the order of seq: {ordered:.0f}/s"
    )
    _console.print(
        f"offered {_CONFIRM_RATE} orders/s for {_CONFIRM_SECONDS} s: {confirmed.per_s:.0f}/s became"
        f" CONFIRMED at {confirmed.cpu_ms_per_order:.2f} ms of CPU each, all servers included;"
        f" the backlog grew by {confirmed.backlog_growth}"
    )
    _console.print(
        f"{sagas.sagas} place-order sagas, stock and payment agreeing at once:"
        f" {sagas.per_s:.0f} sagas/s at {sagas.cpu_ms:.2f} ms of the orchestrator's CPU each;"
        f" bare SQL: {sagas.sql_transactions_per_s:.0f} transactions/s"
    )
    _console.print(
        f"relay_drain_per_s {relay.drain_per_s:.0f} (reading alone {relay.read_per_s:.0f},"
        f" producing alone {relay.produce_per_s:.0f})"
    )
    _console.print(
        f"relay_latency_ms median {relay.latency_p50_ms:.1f}, p99 {relay.latency_p99_ms:.1f}"
        f" at {relay.commits_per_s:.0f} commits/s"
    )
    _write(create, guarded, get, watched, ordered, confirmed, sagas, relay)


def _relay() -> RelayFigures:
    with temporary_stack() as stack:
        _say("starting Postgres and Kafka, and draining a full outbox")
        stack.start_servers()
        stack.provision()
        stack.services["identity"].start()
        return measure_relay(stack)


def _create_order(stack: LocalStack) -> Comparison:
    target = stack.addresses.services["order"]
    pairs = _rounds(
        "CreateOrder",
        lambda: _load("create-order", target),
        lambda: _pgbench(stack, ordered=False),
    )
    return Comparison("CreateOrder", "calls/s", "pgbench, same rows", pairs)


def _create_guarded(stack: LocalStack) -> Comparison:
    target = stack.addresses.services["order"]
    with unguarded_order_service(stack) as unguarded:
        pairs = _rounds(
            "CreateOrder with authentication, authorisation and validation",
            lambda: _load("create-order", target),
            lambda: _load("create-order", unguarded),
        )
    return Comparison("CreateOrder, guarded", "calls/s", "without its guards", pairs)


def _get_order(stack: LocalStack) -> Comparison:
    target = stack.addresses.services["order"]
    response = _one_order(target)
    order_id = response.order.order_id
    with _echo_server(response) as echo:
        pairs = _rounds(
            "GetOrder",
            lambda: _load("get-order", target, order_id),
            lambda: _load("echo", echo, order_id),
        )
    return Comparison("GetOrder (cached)", "calls/s", "grpc.aio echo", pairs)


def _create_watched(stack: LocalStack) -> Comparison:
    """The relay publishes in both; the streams watch orders that are not being created."""
    target = stack.addresses.services["order"]

    def with_streams() -> float:
        with open_streams(target, _STREAMS):
            return _load("create-order", target)

    pairs = _rounds(
        f"CreateOrder beside {_STREAMS} streams",
        with_streams,
        lambda: _load("create-order", target),
    )
    return Comparison(f"CreateOrder, {_STREAMS} streams", "calls/s", "without streams", pairs)


def _rounds(
    name: str, figure: Callable[[], float], baseline: Callable[[], float]
) -> list[tuple[float, float]]:
    pairs = []
    for number in range(1, _ROUNDS + 1):
        base = baseline()
        pairs.append((figure(), base))
        _say(f"{name}, round {number} of {_ROUNDS}: {pairs[-1][0]:.0f}/s beside {base:.0f}/s")
    return pairs


def _load(load: str, target: str, order_ids: str = "") -> float:
    command = [
        sys.executable,
        *("-m", "bench.load", load, target),
        *("--seconds", str(_SECONDS), "--in-flight", str(_IN_FLIGHT), "--order-ids", order_ids),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    if result["errors"]:
        raise SystemExit(f"bench: {result['errors']} calls of {load} failed")
    if result["cpu_share"] > _GENERATOR_IS_THE_LIMIT:
        _say(f"note: the load generator is the limit of {load}, not the server")
    return float(result["per_s"])


def _pgbench(stack: LocalStack, *, ordered: bool) -> float:
    return orders_per_second(
        stack.postgres.program("pgbench"),
        stack.addresses.database_url("trackops_order"),
        clients=_PGBENCH_CLIENTS,
        seconds=_SECONDS,
        ordered=ordered,
    )


def _one_order(target: str) -> order_service_pb2.GetOrderResponse:
    request = order_service_pb2.CreateOrderRequest.FromString(next(create_order_requests()))
    with grpc.insecure_channel(target) as channel:
        stub = OrderServiceStub(channel)
        order_id = stub.CreateOrder(request, metadata=bearer()).order.order_id
        return stub.GetOrder(
            order_service_pb2.GetOrderRequest(order_id=order_id), metadata=bearer()
        )


@contextmanager
def _echo_server(response: order_service_pb2.GetOrderResponse) -> Iterator[str]:
    address = f"127.0.0.1:{Ports.free().claim('order').port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.echo_server", address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        if server.stdin is None or server.stdout is None:
            raise RuntimeError("the echo server has no pipes")
        server.stdin.write(response.SerializeToString())
        server.stdin.close()
        server.stdout.readline()
        yield address
    finally:
        server.kill()
        server.wait()


def _table(*comparisons: Comparison) -> Table:
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    table = Table(title=f"{machine}, median of {_ROUNDS} rounds", title_justify="left")
    for heading in ("what", "figure", "baseline", "", "ratio", "spread"):
        table.add_column(heading)
    for one in comparisons:
        table.add_row(
            one.name,
            f"{one.figure:.0f} {one.unit}",
            one.baseline,
            f"{one.baseline_figure:.0f}/s",
            f"{one.ratio:.2f}",
            one.spread,
        )
    return table


def _write(
    create: Comparison,
    guarded: Comparison,
    get: Comparison,
    watched: Comparison,
    ordered: float,
    confirmed: Confirmed,
    sagas: SagaFigures,
    relay: RelayFigures,
) -> None:
    path = Path(Home.from_environment().root, "bench.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "create_order_per_s": round(create.figure, 1),
        "pgbench_per_s": round(create.baseline_figure, 1),
        "pgbench_ordered_per_s": round(ordered, 1),
        "create_order_vs_pgbench": round(create.ratio, 3),
        "create_guarded_per_s": round(guarded.figure, 1),
        "create_unguarded_per_s": round(guarded.baseline_figure, 1),
        "create_guarded_vs_unguarded": round(guarded.ratio, 3),
        "get_order_per_s": round(get.figure, 1),
        "echo_per_s": round(get.baseline_figure, 1),
        "get_order_vs_echo": round(get.ratio, 3),
        "create_watched_per_s": round(watched.figure, 1),
        "create_unwatched_per_s": round(watched.baseline_figure, 1),
        "create_watched_vs_unwatched": round(watched.ratio, 3),
        "confirmed_orders_per_s": round(confirmed.per_s, 1),
        "cpu_ms_per_confirmed_order": round(confirmed.cpu_ms_per_order, 2),
        "sagas_per_s": round(sagas.per_s, 1),
        "saga_cpu_ms": round(sagas.cpu_ms, 2),
        "bare_sql_transactions_per_s": round(sagas.sql_transactions_per_s, 1),
        "relay_drain_per_s": round(relay.drain_per_s, 1),
        "relay_read_per_s": round(relay.read_per_s, 1),
        "relay_produce_per_s": round(relay.produce_per_s, 1),
        "relay_latency_p50_ms": round(relay.latency_p50_ms, 1),
        "relay_latency_p99_ms": round(relay.latency_p99_ms, 1),
    }
    path.write_text(json.dumps(figures, indent=2) + "\n")
    _say(f"figures are in {path}")


def _say(line: str) -> None:
    _console.print(f"bench: {line}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
