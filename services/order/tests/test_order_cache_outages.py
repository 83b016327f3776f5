"""Redis stops in the middle of traffic: no call fails, and nobody sees the past."""

from __future__ import annotations

import os
import random
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import pytest
import redis
from trackops.order.v1 import order_pb2, order_service_pb2

from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import temporary_stack, wait_for
from trackops_common.idempotency import request_key
from trackops_common.testing import error_details
from trackops_order.testing import OrderServer, OrderServices, confirm_request, create_request

ROLE = "trackops_order"
OUTAGES = 3
WRITERS, READERS = 2, 4
CALLER = "somebody"
"""Whom the service takes every caller for."""
PIECES = 1_000_000
MAX_CHANGES = 20_000
"""Of a writer; far more than it makes until the outages are over."""


@pytest.fixture
def own_stack() -> Iterator[LocalStack]:
    """A Redis of the test's own, to be stopped."""
    with temporary_stack() as stack:
        stack.redis.start()
        yield stack


@dataclass
class Traffic:
    """Changes and reads by plain stubs, which ask for no version, each through either server."""

    servers: Sequence[OrderServer]
    shown: dict[str, int] = field(default_factory=dict)
    """The version of each order that a change has answered."""
    stop: threading.Event = field(default_factory=threading.Event)
    reads: int = 0
    changes: int = 0
    _coming: list[str] = field(default_factory=list)
    """Ids of orders, made a moment before the orders are."""

    def write(self, seed: int) -> None:
        """Creates orders, and ships a piece of each again and again."""
        chance = random.Random(seed)
        mine: list[str] = []
        for number in range(MAX_CHANGES):
            if self.stop.is_set():
                return
            server = chance.choice(self.servers)
            if number % 20 == 0:
                mine = [*mine[-4:], self._create(server)]
                self._confirm(chance.choice(self.servers), mine[-1])
            order = self._ship(server, chance.choice(mine))
            self.shown[order.order_id] = max(order.version, self.shown[order.order_id])
            self.changes += 1
        raise AssertionError("the outages did not end")

    def read(self, seed: int) -> None:
        """Reads orders, the latest most, and some that are not there yet."""
        chance = random.Random(seed)
        while not self.stop.is_set():
            if not self._coming:
                continue
            order_id = chance.choice(self._coming[-8:])
            least = self.shown.get(order_id, 0)
            version = _version(chance.choice(self.servers), order_id)
            assert version >= least, f"{order_id} was at {least}, and is shown at {version}"
            self.reads += 1

    def _create(self, server: OrderServer) -> str:
        request_id = str(uuid.uuid4())
        order_id = str(request_key(CALLER, request_id))
        self._coming.append(order_id)
        request = create_request(request_id=request_id)
        request.lines[0].quantity = PIECES
        order = server.orders.CreateOrder(request).order
        assert order.order_id == order_id
        self.shown[order_id] = order.version
        return order_id

    def _confirm(self, server: OrderServer, order_id: str) -> None:
        self.shown[order_id] = server.sagas.ConfirmOrder(confirm_request(order_id)).version

    def _ship(self, server: OrderServer, order_id: str) -> order_pb2.Order:
        request = order_service_pb2.ShipOrderRequest(
            request_id=str(uuid.uuid4()),
            order_id=order_id,
            lines=[order_pb2.Pieces(sku="SKU-1", quantity=1)],
            carrier="carrier",
            tracking_number="number",
        )
        return server.orders.ShipOrder(request).order

    def has_gone_on(self, *, calls: int = 200) -> Callable[[], bool]:
        """Whether as many reads, and a twentieth of changes, were made from now on."""
        reads, changes = self.reads + calls, self.changes + calls // 20
        return lambda: self.reads >= reads and self.changes >= changes


def _version(server: OrderServer, order_id: str) -> int:
    """0 of an order that is not there."""
    try:
        found = server.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=order_id))
    except grpc.RpcError as error:
        if error_details(error).reason == "ORDER_NOT_FOUND":
            return 0
        raise
    return found.order.version


def _kill_and_restart(stack: LocalStack, while_away: Callable[[], None]) -> None:
    os.kill(_pid(stack), signal.SIGKILL)
    wait_for(lambda: stack.redis.process.pid is None, what="the end of Redis")
    while_away()
    stack.redis.start()


def _freeze_and_thaw(stack: LocalStack, while_away: Callable[[], None]) -> None:
    os.kill(_pid(stack), signal.SIGSTOP)
    try:
        while_away()
    finally:
        os.kill(_pid(stack), signal.SIGCONT)


def _pid(stack: LocalStack) -> int:
    pid = stack.redis.process.pid
    assert pid is not None
    return pid


def _is_used(url: str, *, hits: int = 1000) -> Callable[[], bool]:
    """Whether as many keys were found in Redis from now on."""

    def found() -> int:
        with redis.Redis.from_url(url) as client:
            return int(client.info("stats")["keyspace_hits"])

    enough = found() + hits
    return lambda: found() >= enough


@pytest.mark.parametrize("outage", [_kill_and_restart, _freeze_and_thaw], ids=["killed", "frozen"])
def test_no_call_fails_and_no_read_is_older_than_what_was_answered_before_it(
    own_stack: LocalStack,
    database: FreshDatabase,
    services: OrderServices,
    outage: Callable[[LocalStack, Callable[[], None]], None],
) -> None:
    url = own_stack.redis.url()
    servers = [services.serve(database.url(ROLE), url) for _ in range(2)]
    traffic = Traffic(servers)
    with ThreadPoolExecutor(WRITERS + READERS) as pool:
        work = [pool.submit(traffic.write, seed) for seed in range(WRITERS)]
        work += [pool.submit(traffic.read, seed) for seed in range(READERS)]

        def wait(condition: Callable[[], bool], what: str) -> None:
            wait_for(lambda: condition() or any(one.done() for one in work), what=what)

        try:
            wait(traffic.has_gone_on(), "traffic")
            for _ in range(OUTAGES):
                outage(own_stack, lambda: wait(traffic.has_gone_on(), "traffic without Redis"))
                wait(traffic.has_gone_on(), "traffic with Redis")
                wait(_is_used(url), "use of the cache")
        finally:
            traffic.stop.set()
        for one in work:
            one.result()

    for server in servers:
        away = server.process.logged("cache is away; orders are read from Postgres")
        assert len(away) >= OUTAGES
        assert len(server.process.logged("cache is back")) >= OUTAGES
