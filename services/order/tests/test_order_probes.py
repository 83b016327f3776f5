"""What probes and scrapes see of an order service."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import grpc
import pytest
from trackops.order.v1 import order_service_pb2

from trackops_cli.local.ports import Ports
from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import wait_for
from trackops_common.testing import TcpLink
from trackops_common.testing_http import get_blocking, scrape
from trackops_order.testing import OrderServices, create_request

SERVICE = "trackops.order.v1.OrderService"


@pytest.fixture
def http() -> str:
    """Where probes and metrics are to be."""
    return f"127.0.0.1:{Ports.free().order_http}"


@pytest.fixture
def postgres_link(database: FreshDatabase) -> Iterator[TcpLink]:
    port = urlsplit(database.admin_url).port
    assert port is not None
    with closing(TcpLink(port)) as link:
        yield link


def _through(link: TcpLink, url: str) -> str:
    return url.replace(f":{urlsplit(url).port}/", f":{link.port}/")


def test_readiness_follows_postgres_and_only_reports_redis(
    services: OrderServices,
    database: FreshDatabase,
    postgres_link: TcpLink,
    redis_link: TcpLink,
    linked_redis_url: str,
    http: str,
) -> None:
    services.serve(
        _through(postgres_link, database.url("trackops_order")),
        linked_redis_url,
        more={"TRACKOPS_HTTP_LISTEN": http},
    )
    assert get_blocking(http, "/healthz/live") == (200, "live\n")
    assert get_blocking(http, "/healthz/ready") == (200, "ready\n")

    redis_link.cut()
    away = "ready\nPostgres: there\nRedis: away; the service does without\n"
    wait_for(lambda: get_blocking(http, "/healthz/ready?verbose") == (200, away), what="no Redis")
    redis_link.restore()

    postgres_link.cut()
    wait_for(
        lambda: get_blocking(http, "/healthz/ready") == (503, "not ready: Postgres\n"),
        what="not ready",
    )
    assert get_blocking(http, "/healthz/live") == (200, "live\n")
    postgres_link.restore()
    whole = "ready\nPostgres: there\nRedis: there\n"
    wait_for(lambda: get_blocking(http, "/healthz/ready?verbose") == (200, whole), what="ready")


def test_calls_batches_and_the_cache_are_counted(
    services: OrderServices, database: FreshDatabase, redis_url: str, http: str
) -> None:
    service = services.serve(
        database.url("trackops_order"), redis_url, more={"TRACKOPS_HTTP_LISTEN": http}
    )
    order_id = service.orders.CreateOrder(create_request()).order.order_id
    for _ in range(3):
        service.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=order_id))
    with pytest.raises(grpc.RpcError):
        service.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=str(uuid.uuid4())))

    # A refusal reaches its caller before it is counted.
    refused = "grpc_code=NOT_FOUND"
    wait_for(lambda: any(refused in labels for _, labels in scrape(http)), what="the refusal")
    found = scrape(http)

    def handled(method: str, code: str) -> float:
        labels = {f"grpc_service={SERVICE}", f"grpc_method={method}", f"grpc_code={code}"}
        return found["grpc_server_handled_total", frozenset(labels | {"grpc_type=unary"})]

    def number(name: str, *labels: str) -> float:
        return found[name, frozenset(labels)]

    assert (handled("CreateOrder", "OK"), handled("GetOrder", "OK")) == (1, 3)
    assert handled("GetOrder", "NOT_FOUND") == 1
    assert number("trackops_batch_commands_sum", "batch=CreateOrders") == 1
    assert number("trackops_batch_wait_seconds_count", "batch=GetOrders") == 4
    hits, misses = (
        number("trackops_order_cache_lookups_total", f"outcome={outcome}")
        for outcome in ("hit", "miss")
    )
    assert hits + misses == 4
    assert misses >= 2
    assert number("trackops_order_cache_lookups_total", "outcome=stale") == 0
    assert number("trackops_order_cache_late_writes_total") == 0
    assert handled("CreateOrder", "UNAVAILABLE") == 0
    assert number("trackops_service_ready", "service=trackops_order") == 1
    for dependency, needed in (("Postgres", "true"), ("Redis", "false")):
        labels = f"dependency={dependency}", f"needed={needed}"
        assert number("trackops_dependency_up", *labels) == 1
    assert number("trackops_database_pool_size") == 4
    assert number("trackops_database_pool_wait_seconds_count") >= 3
    assert number("process_open_fds") > 0


def test_without_the_setting_there_is_no_endpoint(
    services: OrderServices, database: FreshDatabase, redis_url: str
) -> None:
    service = services.serve(database.url("trackops_order"), redis_url)

    assert "showing probes and metrics" not in service.process.events


def test_a_taken_port_is_one_clear_line(
    services: OrderServices, database: FreshDatabase, redis_url: str, http: str
) -> None:
    more = {"TRACKOPS_HTTP_LISTEN": http}
    services.serve(database.url("trackops_order"), redis_url, more=more)

    second = services.spawn(services.settings(database.url("trackops_order"), redis_url) | more)

    assert second.wait(seconds=30) == 1
    (line,) = second.logged("cannot serve")
    assert line["error"] == f"cannot listen on {http}: the port is taken or not allowed"
