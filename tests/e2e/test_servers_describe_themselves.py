"""grpcurl needs no proto file: reflection, health and channelz on every server."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from trackops_cli.testing import Mesh

SERVICES = {
    "order": ["trackops.order.v1.OrderSagaService", "trackops.order.v1.OrderService"],
    "saga_orchestrator": ["trackops.saga.v1.SagaService"],
    "outbox_relay": ["trackops.relay.v1.RelayService"],
    "identity": ["trackops.identity.v1.IdentityService"],
    "inventory": ["trackops.inventory.v1.InventoryService"],
    "payment": ["trackops.payment.v1.PaymentService"],
}
COMMON = [
    "grpc.channelz.v1.Channelz",
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
    "trackops.common.v1.AdminService",
]


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def channel(mesh: Mesh, service: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(mesh.target(service)) as channel:
        yield channel


def test_reflection_lists_every_service_with_its_methods(
    channel: grpc.Channel, service: str
) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert sorted(database.get_services()) == sorted([*COMMON, *SERVICES[service]])
    for name in SERVICES[service]:
        descriptor = database.FindFileContainingSymbol(name)
        assert descriptor.service[0].method


def test_health_answers_for_the_server_and_each_service(
    channel: grpc.Channel, service: str
) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", *SERVICES[service]):
        response = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
        assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_channelz_shows_the_server(channel: grpc.Channel) -> None:
    stub = channelz_pb2_grpc.ChannelzStub(channel)
    servers = stub.GetServers(channelz_pb2.GetServersRequest(), timeout=5).server
    assert servers[0].data.calls_started > 0
