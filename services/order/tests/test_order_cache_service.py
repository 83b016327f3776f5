"""What the order service's cache promises, on real servers: docs/order-cache.md."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
import redis
from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_cli.local.provision import connect
from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import wait_for
from trackops_client import open_channel
from trackops_common.testing import ErrorDetails, error_details
from trackops_common.testing_tokens import access_token
from trackops_order.testing import OrderServer, OrderServices, confirm_request, create_request

ROLE = "trackops_order"


def _get(order_id: str, min_version: int = 0) -> order_service_pb2.GetOrderRequest:
    return order_service_pb2.GetOrderRequest(order_id=order_id, min_version=min_version)


def _failure(call: Any, request: Any) -> ErrorDetails:
    with pytest.raises(grpc.RpcError) as failed:
        call(request)
    return error_details(failed.value)


def _confirmed(service: OrderServer) -> str:
    """An order at version 2."""
    order_id = service.orders.CreateOrder(create_request()).order.order_id
    service.sagas.ConfirmOrder(confirm_request(order_id))
    return order_id


def test_an_order_is_shown_at_its_minimum_or_later(service: OrderServer) -> None:
    order_id = _confirmed(service)

    for least in (0, 1, 2):
        assert service.orders.GetOrder(_get(order_id, least)).order.version == 2


def test_a_version_that_was_never_reached_is_refused_by_name(service: OrderServer) -> None:
    order_id = _confirmed(service)

    details = _failure(service.orders.GetOrder, _get(order_id, 3))

    assert (details.code, details.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "VERSION_NOT_REACHED",
    )
    assert details.metadata == {"order_id": order_id, "min_version": "3", "version": "2"}


def test_a_negative_minimum_is_an_invalid_request(service: OrderServer) -> None:
    order_id = str(uuid.uuid4())
    batch = order_service_pb2.BatchGetOrdersRequest(
        order_ids=[order_id], min_versions={order_id: -1, "x": 1}
    )

    one = _failure(service.orders.GetOrder, _get(order_id, -1))
    many = _failure(service.orders.BatchGetOrders, batch)

    assert (one.reason, set(one.violations)) == ("INVALID_REQUEST", {"min_version"})
    assert many.reason == "INVALID_REQUEST"
    assert set(many.violations) == {f"min_versions[{order_id}]", "min_versions[x]"}


def test_each_order_of_a_batch_has_a_minimum_of_its_own(service: OrderServer) -> None:
    first, second, unknown = _confirmed(service), _confirmed(service), str(uuid.uuid4())
    request = order_service_pb2.BatchGetOrdersRequest(
        order_ids=[first, unknown, second], min_versions={second.upper(): 2, unknown: 7}
    )

    answer = service.orders.BatchGetOrders(request)
    assert [(one.order_id, one.version) for one in answer.orders] == [(first, 2), (second, 2)]

    request.min_versions[first] = 3
    details = _failure(service.orders.BatchGetOrders, request)
    assert details.reason == "VERSION_NOT_REACHED"
    assert details.metadata["order_id"] == first


def test_a_thousand_reads_of_a_cold_id_at_once_are_one_query(
    services: OrderServices, database: FreshDatabase, redis_url: str
) -> None:
    writer = services.serve(database.url(ROLE), redis_url)
    order_id = writer.orders.CreateOrder(create_request()).order.order_id
    before = _scans_once_stopped(writer, database)
    reader = services.serve(database.url(ROLE), redis_url)

    calls = [reader.orders.GetOrder.future(_get(order_id), timeout=60) for _ in range(1000)]

    assert {call.result().order.order_id for call in calls} == {order_id}
    assert _scans_once_stopped(reader, database) == before + 1


def _scans_once_stopped(service: OrderServer, database: FreshDatabase) -> int:
    """How often the table of orders was searched; sessions report that when they end."""
    service.process.terminate()
    assert service.process.wait() == 0
    with connect(database.admin_url) as admin, admin.cursor() as cursor:

        def sessions() -> int:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = %s",
                [ROLE],
            )
            ((count,),) = cursor.fetchall()
            return int(count)

        wait_for(lambda: sessions() == 0, what="the end of the service's sessions")
        cursor.execute(
            "SELECT seq_scan + idx_scan FROM pg_stat_user_tables WHERE relname = 'orders'"
        )
        ((scans,),) = cursor.fetchall()
    return int(scans)


def test_the_client_package_reads_its_own_writes_whatever_the_cache_says(
    service: OrderServer, redis_server: str
) -> None:
    """The cache has the order as it was before, as after a mark that was missed."""
    with (
        open_channel(service.target, token=access_token) as channel,
        redis.Redis.from_url(redis_server) as client,
    ):
        ours = OrderServiceStub(channel)
        order_id = ours.CreateOrder(create_request()).order.order_id
        key = f"trackops:order:{order_id}"
        assert service.orders.GetOrder(_get(order_id)).order.version == 1
        old = client.get(key)
        assert ours.CancelOrder(_cancel(order_id)).order.version == 2
        client.set(key, old)
        assert service.orders.GetOrder(_get(order_id)).order.version == 1

        assert ours.GetOrder(_get(order_id)).order.version == 2
        client.set(key, old)
        batch = order_service_pb2.BatchGetOrdersRequest(order_ids=[order_id])
        assert ours.BatchGetOrders(batch).orders[0].version == 2


def _cancel(order_id: str) -> order_service_pb2.CancelOrderRequest:
    return order_service_pb2.CancelOrderRequest(order_id=order_id)
