"""How the order service starts, stands failures of its neighbours, and stops."""

from __future__ import annotations

import uuid
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from trackops.order.v1 import order_pb2, order_service_pb2

from trackops_cli.local.provision import connect
from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import wait_for
from trackops_common.database import Database
from trackops_common.testing import TcpLink, error_details
from trackops_order.testing import OrderServer, OrderServices, confirm_request, create_request

SERVICES = ["trackops.order.v1.OrderSagaService", "trackops.order.v1.OrderService"]
NOBODY = "postgresql://trackops_order:secret@127.0.0.1:1/trackops"
NO_REDIS = "redis://127.0.0.1:1/0"


def _reflect(
    service: OrderServer, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    stub = reflection_pb2_grpc.ServerReflectionStub(service.channel)
    return next(iter(stub.ServerReflectionInfo(iter([request]))))


def test_reflection_lists_every_service_and_hands_out_the_contracts(service: OrderServer) -> None:
    listed = _reflect(service, reflection_pb2.ServerReflectionRequest(list_services=""))
    described = _reflect(
        service, reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICES[1])
    )

    assert sorted(one.name for one in listed.list_services_response.service) == [
        "grpc.channelz.v1.Channelz",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "trackops.common.v1.AdminService",
        *SERVICES,
    ]
    files = [
        FileDescriptorProto.FromString(file)
        for file in described.file_descriptor_response.file_descriptor_proto
    ]
    assert "OrderService" in {service.name for file in files for service in file.service}


@pytest.mark.parametrize("name", ["", *SERVICES])
def test_health_is_serving_as_a_whole_and_for_each_service(service: OrderServer, name: str) -> None:
    stub = health_pb2_grpc.HealthStub(service.channel)

    answer = stub.Check(health_pb2.HealthCheckRequest(service=name))

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_a_service_that_is_not_there_is_not_found(service: OrderServer) -> None:
    stub = health_pb2_grpc.HealthStub(service.channel)

    with pytest.raises(grpc.RpcError) as failed:
        stub.Check(health_pb2.HealthCheckRequest(service="trackops.nobody.v1.Nobody"))

    call: Any = failed.value
    assert call.code() is grpc.StatusCode.NOT_FOUND


def test_channelz_answers(service: OrderServer) -> None:
    service.orders.CreateOrder(create_request())
    stub = channelz_pb2_grpc.ChannelzStub(service.channel)

    servers = stub.GetServers(channelz_pb2.GetServersRequest(start_server_id=0)).server

    assert len(servers) == 1
    assert servers[0].data.calls_succeeded > 0


def test_without_redis_every_answer_is_right(
    services: OrderServices, database: FreshDatabase, redis_link: TcpLink, linked_redis_url: str
) -> None:
    service = services.serve(database.url("trackops_order"), linked_redis_url)
    order_id = service.orders.CreateOrder(create_request()).order.order_id
    request = order_service_pb2.GetOrderRequest(order_id=order_id)
    for _ in range(3):  # once to find the generation, once to put, once to hit
        assert service.orders.GetOrder(request).order.state == order_pb2.ORDER_STATE_PENDING

    redis_link.cut()
    service.sagas.ConfirmOrder(confirm_request(order_id))

    assert service.orders.GetOrder(request).order.state == order_pb2.ORDER_STATE_CONFIRMED
    assert service.process.wait_logged("cache is away; orders are read from Postgres")
    redis_link.restore()
    for _ in range(20):
        assert service.orders.GetOrder(request).order.state == order_pb2.ORDER_STATE_CONFIRMED
    service.orders.CreateOrder(create_request())


def test_a_service_starts_without_redis(services: OrderServices, database: FreshDatabase) -> None:
    service = services.serve(database.url("trackops_order"), NO_REDIS)

    order = service.orders.CreateOrder(create_request()).order

    found = service.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=order.order_id))
    assert found.order == order


def test_a_lost_connection_to_postgres_costs_no_call(
    services: OrderServices, database: FreshDatabase
) -> None:
    service = services.serve(database.url("trackops_order"), NO_REDIS)
    service.orders.CreateOrder(create_request())
    with connect(database.admin_url) as admin, admin.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE usename = 'trackops_order' AND datname = current_database()"
        )
        assert cursor.rowcount > 0

    for call in [service.orders.CreateOrder.future(create_request()) for _ in range(20)]:
        assert call.result(timeout=30).order.version == 1


def test_a_stop_loses_none_of_the_calls_in_flight(
    services: OrderServices, database: FreshDatabase
) -> None:
    """They stand in gRPC, in the batcher and in the database when the signal comes."""
    service = services.serve(database.url("trackops_order"), NO_REDIS)
    service.orders.CreateOrder(create_request())
    watch = health_pb2_grpc.HealthStub(service.channel).Watch(health_pb2.HealthCheckRequest())
    with closing(Database(database.url("trackops_order"), application_name="test")) as rows:
        with rows.transaction() as holder:
            holder.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.outbox', 0))"
            )
            calls = [service.orders.CreateOrder.future(create_request()) for _ in range(100)]
            wait_for(lambda: _waits_for_the_outbox(rows), what="a batch at the outbox lock")
            wait_for(lambda: _in_flight(service) == 101, what="every call and the watch")
            service.process.terminate()
            assert list(watch)[-1].status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert _waits_for_the_outbox(rows)

        created = {call.result(timeout=30).order.order_id for call in calls}

        assert service.process.wait() == 0
        stored = {str(row[0]) for row in rows.fetch("SELECT order_id FROM orders")}
    assert len(created) == 100
    assert created < stored
    assert service.process.logged("stopped")


def test_a_stop_does_not_wait_for_those_who_watch_its_health(
    services: OrderServices, database: FreshDatabase
) -> None:
    service = services.serve(database.url("trackops_order"), NO_REDIS)
    stub = health_pb2_grpc.HealthStub(service.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING

    service.process.terminate()

    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert service.process.wait(seconds=5) == 0
    assert list(watch) == []


def _waits_for_the_outbox(rows: Database) -> bool:
    return bool(rows.fetch("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))


def _in_flight(service: OrderServer) -> int:
    """Calls that the server has taken and not answered, without the one that asks."""
    stub = channelz_pb2_grpc.ChannelzStub(service.channel)
    (server,) = stub.GetServers(channelz_pb2.GetServersRequest(start_server_id=0)).server
    data = server.data
    return int(data.calls_started - data.calls_succeeded - data.calls_failed) - 1


def test_every_missing_setting_is_named_in_a_line_of_its_own(services: OrderServices) -> None:
    process = services.spawn({})

    assert process.wait() == 78
    assert sorted(process.output) == [
        "trackops: setting TRACKOPS_DATABASE_URL is missing",
        "trackops: setting TRACKOPS_KAFKA_BOOTSTRAP_SERVERS is missing",
        "trackops: setting TRACKOPS_LISTEN is missing",
        "trackops: setting TRACKOPS_PAGE_TOKEN_KEY is missing",
        "trackops: setting TRACKOPS_REDIS_URL is missing",
    ]


def test_postgres_away_at_start_is_waited_for_and_then_given_up(services: OrderServices) -> None:
    settings = services.settings(NOBODY, NO_REDIS)

    process = services.spawn(settings | {"TRACKOPS_START_TIMEOUT_SECONDS": "1"})

    assert process.wait() == 1
    assert process.events == ["waiting for a dependency", "cannot serve"]
    assert process.logged("cannot serve")[0]["error"] == "Postgres is not available"
    assert len(process.output) == 2


def test_postgres_that_comes_late_is_waited_for(
    services: OrderServices, database: FreshDatabase
) -> None:
    url = urlsplit(database.url("trackops_order"))
    assert url.port is not None
    with closing(TcpLink(url.port)) as link:
        link.cut()
        late = url._replace(netloc=url.netloc.replace(str(url.port), str(link.port))).geturl()
        process = services.spawn(services.settings(late, NO_REDIS))
        process.wait_logged("waiting for a dependency")

        link.restore()

        process.wait_logged("serving")


def test_a_schema_that_is_not_migrated_is_one_clear_line(
    services: OrderServices, database: FreshDatabase
) -> None:
    with connect(database.url("trackops_order")) as owner, owner.cursor() as cursor:
        cursor.execute("DROP TABLE alembic_version")

    process = services.spawn(services.settings(database.url("trackops_order"), NO_REDIS))

    assert process.wait() == 1
    assert len(process.output) == 1
    assert "is not migrated" in process.logged("cannot serve")[0]["error"]


def test_a_taken_port_is_one_clear_line_and_never_shared(
    service: OrderServer, services: OrderServices, database: FreshDatabase, redis_server: str
) -> None:
    settings = services.settings(database.url("trackops_order"), redis_server)

    process = services.spawn(settings | {"TRACKOPS_LISTEN": service.target})

    assert process.wait() == 1
    (line,) = process.logged("cannot serve")
    assert service.target in line["error"]
    assert process.events[-1] == "cannot serve"
    assert "Traceback" not in "".join(process.output)


def test_a_service_that_became_slow_refuses_orders_at_once_and_takes_them_again(
    service: OrderServer, service_rows: Database
) -> None:
    slow = order_service_pb2.BatchCreateOrdersRequest(
        requests=[create_request() for _ in range(20)]
    )
    requests = [create_request() for _ in range(300)]

    with service_rows.transaction() as holder:
        holder.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        first = service.orders.BatchCreateOrders.future(slow, timeout=30)
        holder.execute("SELECT pg_sleep(0.5)")
    assert first.result()
    with service_rows.transaction() as holder:
        holder.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        calls = [service.orders.CreateOrder.future(request, timeout=30) for request in requests]
        wait_for(lambda: any(call.done() for call in calls), what="a refusal")

    errors = {number: error for number, call in enumerate(calls) if (error := call.exception())}
    assert 0 < len(errors) <= 300 - 128
    for number, error in errors.items():
        assert isinstance(error, grpc.RpcError)
        details = error_details(error)
        assert (details.code, details.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert details.retry_after_seconds == 0.5
        assert service.orders.CreateOrder(requests[number], timeout=30).order.version == 1
    ids = {
        call.result().order.order_id for number, call in enumerate(calls) if number not in errors
    }
    assert len(ids) == 300 - len(errors)


def test_an_overloaded_service_says_so_and_when_to_come_back(
    service: OrderServer, service_rows: Database
) -> None:
    ids = [str(uuid.uuid4()) for _ in range(1000)]
    request = order_service_pb2.BatchGetOrdersRequest(order_ids=ids)

    with service_rows.transaction() as holder:
        holder.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        calls = [service.orders.BatchGetOrders.future(request, timeout=30) for _ in range(8)]
        wait_for(lambda: any(call.done() for call in calls), what="a refusal")

    errors = [error for call in calls if (error := call.exception()) is not None]
    assert 0 < len(errors) < 8
    for error in errors:
        assert isinstance(error, grpc.RpcError)
        details = error_details(error)
        assert details.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details.reason == "OVERLOADED"
        assert details.retry_after_seconds
