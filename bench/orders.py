"""CreateOrder and GetOrder of one order service: each beside the least that could do as much."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import grpc
from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from bench import pgbench
from bench.figures import Figure, Plot, at_least, at_most, compared
from bench.generator import Loaded, load
from bench.load import create_order_requests
from bench.processes import cpu_seconds, little_server
from bench.run import Run
from bench.tokens import bearer, call_as_admin_of
from bench.unguarded import unguarded_order_service
from bench.watched import open_streams
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import temporary_stack

__all__ = ["measure"]

_SECONDS = 6
_POINT_SECONDS = 3
_STREAMS = 1000
_IN_FLIGHT = (1, 8, 32, 128, 256)
_PARTS_OF_MAXIMUM = (0.25, 0.5, 0.75, 0.9)


def measure(run: Run) -> Iterator[Figure | Plot]:
    with temporary_stack() as stack:
        run.say("starting Postgres, Redis, Kafka, identity and the order service")
        stack.start_servers()
        stack.provision()
        stack.services["identity"].start()
        stack.services["order"].start()
        call_as_admin_of(stack)
        yield from _watched(run, stack)
        create = _create(run, stack)
        yield from create
        maximum = create[0].median
        yield from _at_half(run, stack, maximum)
        yield from _guarded(run, stack)
        yield from _get(run, stack)
        yield _by_calls_in_flight(run, stack)
        yield _by_rate(run, stack, maximum)


@dataclass(frozen=True)
class _Created:
    """A round of CreateOrder beside pgbench."""

    loaded: Loaded
    cpu_ms: float
    """Of the order service and Postgres, for one order."""
    alone: pgbench.Transactions
    in_line: pgbench.Transactions


def _create(run: Run, stack: LocalStack) -> Sequence[Figure]:
    rounds = [_create_once(run, stack) for _ in run.each_round("CreateOrder beside pgbench")]
    per_s = Figure(
        "create_order_per_s",
        "CreateOrder, 128 calls in flight",
        "/s",
        [one.loaded.per_s for one in rounds],
        "transactions/s of pgbench, same rows",
        [one.alone.per_s for one in rounds],
    )
    cpu = Figure(
        "create_order_cpu_ms",
        "CPU of an order, order service and Postgres",
        "ms",
        [one.cpu_ms for one in rounds],
        "ms of Postgres under pgbench",
        [one.alone.cpu_ms for one in rounds],
    )
    in_line = Figure(
        "pgbench_ordered_per_s",
        "pgbench with the outbox lock, which puts commits in the order of seq",
        "/s",
        [one.in_line.per_s for one in rounds],
        "transactions/s without it",
        [one.alone.per_s for one in rounds],
    )
    return [
        *compared(
            per_s,
            "create_order_vs_pgbench",
            "CreateOrder ÷ pgbench",
            aim=at_least(0.65),
        ),
        *compared(
            cpu,
            "create_order_cpu_vs_pgbench",
            "CPU of an order ÷ CPU of a pgbench transaction",
            aim=at_most(1.2),
        ),
        in_line,
    ]


def _create_once(run: Run, stack: LocalStack) -> _Created:
    seconds = run.seconds(_SECONDS)
    alone = pgbench.orders(stack, seconds=seconds)
    before = _cpu_of_orders(stack)
    loaded = _create_order(run, stack, seconds)
    cpu_ms = 1000 * (_cpu_of_orders(stack) - before) / loaded.calls
    in_line = pgbench.orders(stack, seconds=run.seconds(_POINT_SECONDS), ordered=True)
    return _Created(loaded, cpu_ms, alone, in_line)


def _cpu_of_orders(stack: LocalStack) -> float:
    return cpu_seconds(stack.services["order"], stack.postgres)


def _at_half(run: Run, stack: LocalStack, maximum: float) -> Iterator[Figure]:
    seconds, rate = run.seconds(_SECONDS), maximum / 2
    pairs = [
        (
            _create_order(run, stack, seconds, rate=rate).p99_ms,
            pgbench.orders_p99_ms(stack, seconds=seconds, rate=rate),
        )
        for _ in run.each_round("CreateOrder at half of its maximum")
    ]
    yield Figure(
        "create_order_p99_ms",
        "CreateOrder, 99th percentile at half of its maximum",
        "ms",
        [mine for mine, _ in pairs],
        "ms of pgbench at the same rate",
        [theirs for _, theirs in pairs],
        at_most(40),
    )


def _guarded(run: Run, stack: LocalStack) -> Iterator[Figure]:
    guarded, seconds = stack.addresses.services["order"], run.seconds(_SECONDS)
    with unguarded_order_service(stack) as unguarded:
        figure = _beside(
            run,
            "create_guarded_per_s",
            "CreateOrder with authentication, authorisation and validation",
            lambda: load(run, "create-order", guarded, seconds=seconds).per_s,
            "calls/s without its guards",
            lambda: load(run, "create-order", unguarded, seconds=seconds).per_s,
        )
    yield from compared(
        figure,
        "create_guarded_vs_unguarded",
        "CreateOrder ÷ CreateOrder without its guards",
        aim=at_least(0.9),
    )


def _get(run: Run, stack: LocalStack) -> Iterator[Figure]:
    target, seconds = stack.addresses.services["order"], run.seconds(_SECONDS)
    response = _one_order(target)
    order_id = response.order.order_id
    with little_server("bench.echo_server", response.SerializeToString()) as echo:
        figure = _beside(
            run,
            "get_order_per_s",
            "GetOrder of a cached order, 128 calls in flight",
            lambda: load(run, "get-order", target, seconds=seconds, order_id=order_id).per_s,
            "calls/s of a bare grpc.aio echo",
            lambda: load(run, "echo", echo.target, seconds=seconds, order_id=order_id).per_s,
        )
    yield from compared(figure, "get_order_vs_echo", "GetOrder ÷ echo", aim=at_least(0.6))


def _watched(run: Run, stack: LocalStack) -> Iterator[Figure]:
    """The relay publishes in both; the streams watch orders that are not being created."""
    seconds = run.seconds(_SECONDS)

    def with_streams() -> float:
        with open_streams(stack.addresses.services["order"], _STREAMS):
            return _create_order(run, stack, seconds).per_s

    stack.services["outbox_relay"].start()
    figure = _beside(
        run,
        "create_watched_per_s",
        f"CreateOrder beside {_STREAMS:,} open streams",
        with_streams,
        "calls/s without streams",
        lambda: _create_order(run, stack, seconds).per_s,
    )
    stack.services["outbox_relay"].stop()
    yield from compared(
        figure, "create_watched_vs_unwatched", "CreateOrder beside streams ÷ without"
    )


def _by_calls_in_flight(run: Run, stack: LocalStack) -> Plot:
    seconds = run.seconds(_POINT_SECONDS)
    rounds = [
        [_create_order(run, stack, seconds, in_flight=number).per_s for number in _IN_FLIGHT]
        for _ in run.each_round("CreateOrder by calls in flight")
    ]
    return Plot(
        "create_order_by_calls_in_flight",
        "CreateOrder against calls in flight",
        "calls in flight",
        "orders/s",
        [str(number) for number in _IN_FLIGHT],
        {"CreateOrder": _medians(rounds)},
    )


def _by_rate(run: Run, stack: LocalStack, maximum: float) -> Plot:
    seconds = run.seconds(_POINT_SECONDS)
    rates = [round(part * maximum, -1) for part in _PARTS_OF_MAXIMUM]
    rounds = [
        [_create_order(run, stack, seconds, rate=rate) for rate in rates]
        for _ in run.each_round("CreateOrder by rate")
    ]
    return Plot(
        "create_order_latency_by_rate",
        "Latency of CreateOrder against its rate",
        "orders/s",
        "ms",
        [f"{rate:.0f}" for rate in rates],
        {
            "median": _medians([[one.p50_ms for one in points] for points in rounds]),
            "90th percentile": _medians([[one.p90_ms for one in points] for points in rounds]),
            "99th percentile": _medians([[one.p99_ms for one in points] for points in rounds]),
        },
    )


def _medians(rounds: Sequence[Sequence[float]]) -> Sequence[float]:
    """Place by place."""
    return [statistics.median(values) for values in zip(*rounds, strict=True)]


def _create_order(
    run: Run, stack: LocalStack, seconds: int, *, in_flight: int = 128, rate: float = 0
) -> Loaded:
    target = stack.addresses.services["order"]
    return load(run, "create-order", target, seconds=seconds, in_flight=in_flight, rate=rate)


def _beside(
    run: Run,
    key: str,
    what: str,
    figure: Callable[[], float],
    baseline: str,
    measure_baseline: Callable[[], float],
) -> Figure:
    """Calls a second, in each round after those of the baseline."""
    pairs = [(measure_baseline(), figure()) for _ in run.each_round(what)]
    return Figure(
        key, what, "/s", [mine for _, mine in pairs], baseline, [base for base, _ in pairs]
    )


def _one_order(target: str) -> order_service_pb2.GetOrderResponse:
    request = order_service_pb2.CreateOrderRequest.FromString(next(create_order_requests()))
    with grpc.insecure_channel(target) as channel:
        stub = OrderServiceStub(channel)
        order_id = stub.CreateOrder(request, metadata=bearer()).order.order_id
        return stub.GetOrder(
            order_service_pb2.GetOrderRequest(order_id=order_id), metadata=bearer()
        )
