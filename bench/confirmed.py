"""The whole way: orders a second from CreateOrder to CONFIRMED, and what they cost.

Orders are sent at a fixed rate, whatever the answers take, and counted in
Postgres by the time at which they became CONFIRMED. The cost is that of every
server and service; the load generator is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass

import grpc
import psutil
import psycopg2
from trackops.inventory.v1 import inventory_service_pb2
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub

from bench.tokens import bearer
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import wait_for

_WARM_UP_SECONDS = 5
_SKUS = 100
_STATES = """
SELECT count(*) FILTER (WHERE state = 'CONFIRMED'), count(*) FILTER (WHERE state = 'PENDING')
  FROM trackops_order.orders
"""


@dataclass(frozen=True)
class Confirmed:
    """What was counted between warm-up and end."""

    per_s: float
    cpu_ms_per_order: float
    backlog_growth: int
    """PENDING orders at the end, less those at the beginning."""


@dataclass(frozen=True)
class _Moment:
    at: float
    confirmed: int
    pending: int
    cpu_seconds: float


def confirmed_orders(stack: LocalStack, *, rate: float, seconds: float) -> Confirmed:
    """Send `rate` orders a second through a running mesh for `seconds`.

    It is warmed up before, and has nothing left to do when the orders begin, so
    that none of an earlier backlog is counted.
    """
    _fill_shelves(stack)
    subprocess.run(_load(stack, rate, _WARM_UP_SECONDS), stdout=subprocess.DEVNULL, check=True)
    wait_for(lambda: _observe(stack).pending == 0, seconds=60, what="the warm-up's orders to end")
    command = _load(stack, rate, seconds + _WARM_UP_SECONDS)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        time.sleep(_WARM_UP_SECONDS)
        begin = _observe(stack)
        time.sleep(seconds)
        end = _observe(stack)
        answer = load.stdout.read() if load.stdout else ""
    if load.returncode or json.loads(answer)["errors"]:
        raise SystemExit(f"bench: calls of CreateOrder failed: {answer}")
    orders = end.confirmed - begin.confirmed
    return Confirmed(
        per_s=orders / (end.at - begin.at),
        cpu_ms_per_order=1000 * (end.cpu_seconds - begin.cpu_seconds) / orders,
        backlog_growth=end.pending - begin.pending,
    )


def _load(stack: LocalStack, rate: float, seconds: float) -> list[str]:
    target = stack.addresses.services["order"]
    words = ("-m", "bench.load", "create-order", target, "--rate", rate, "--seconds", seconds)
    return [sys.executable, *map(str, words)]


def _observe(stack: LocalStack) -> _Moment:
    connection = psycopg2.connect(stack.admin_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(_STATES)
        confirmed, pending = cursor.fetchone() or (0, 0)
    connection.close()
    return _Moment(time.monotonic(), confirmed, pending, _cpu_seconds(stack))


def _cpu_seconds(stack: LocalStack) -> float:
    processes = [psutil.Process(part.pid) for part in stack.status() if part.pid]
    family = {child for one in processes for child in (one, *one.children(recursive=True))}
    times = [process.cpu_times() for process in family]
    return float(sum(one.user + one.system for one in times))


def _fill_shelves(stack: LocalStack) -> None:
    adjustments = [
        inventory_service_pb2.AdjustStockRequest(
            request_id=str(uuid.uuid4()), sku=f"BENCH-{number}", delta=100_000_000
        )
        for number in range(_SKUS)
    ]
    with grpc.insecure_channel(stack.addresses.services["inventory"]) as channel:
        InventoryServiceStub(channel).BatchAdjustStock(
            inventory_service_pb2.BatchAdjustStockRequest(requests=adjustments), metadata=bearer()
        )
