"""Things in a mesh that harm can be done to: orders on their way, sagas, accounts with sessions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import grpc
from trackops.identity.v1.identity_service_pb2 import LoginRequest, RegisterUserRequest
from trackops.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from trackops.inventory.v1.inventory_service_pb2 import AdjustStockRequest
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from trackops.order.v1.order_pb2 import OrderLine
from trackops.order.v1.order_service_pb2 import CreateOrderRequest, ShipOrderRequest
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub
from trackops.saga.v1.saga_service_pb2 import ListSagasRequest
from trackops.saga.v1.saga_service_pb2_grpc import SagaServiceStub

from trackops_cli.testing import Mesh, wait_for

from .samples import PASSWORD, SKUS, Known

__all__ = ["peopled", "request_id"]

_ORDERS = 12
_SECONDS = 20.0


def peopled(mesh: Mesh) -> Known:
    """Makes them; nothing of it depends on chance but what the services draw themselves."""
    with (
        grpc.insecure_channel(mesh.target("order")) as orders,
        grpc.insecure_channel(mesh.target("inventory")) as stock,
        grpc.insecure_channel(mesh.target("saga_orchestrator")) as sagas,
        grpc.insecure_channel(mesh.target("identity")) as identity,
    ):
        call = _calling(mesh)
        for sku in SKUS:
            request = AdjustStockRequest(request_id=request_id(sku), sku=sku, delta=100_000)
            call(InventoryServiceStub(stock).AdjustStock, request)
        order_ids = [_order(call, orders, number) for number in range(_ORDERS)]
        list_sagas = SagaServiceStub(sagas).ListSagas
        known = ListSagasRequest(page_size=100)
        wait_for(
            lambda: len(call(list_sagas, known).sagas) >= _ORDERS, what="every order to have a saga"
        )
        accounts = [_account(call, identity, number) for number in range(3)]
        return Known(
            orders=order_ids,
            sagas=[saga.saga_id for saga in call(list_sagas, known).sagas],
            users=[session.user_id for _, session, _ in accounts],
            emails=[email for email, _, _ in accounts],
            sessions=[session.session_id for _, session, _ in accounts],
            refresh_tokens=[tokens.refresh_token for _, _, tokens in accounts],
        )


def request_id(name: str) -> str:
    """The same for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


Call = Callable[[Any, Any], Any]


def _calling(mesh: Mesh) -> Call:
    """Calls RPCs as an administrator."""
    metadata = (("authorization", f"Bearer {mesh.token()}"),)
    return lambda rpc, request: rpc(request, timeout=_SECONDS, metadata=metadata)


def _order(call: Call, channel: grpc.Channel, number: int) -> str:
    """Some are shipped, some declined, the rest just confirmed."""
    stub = OrderServiceStub(channel)
    request = CreateOrderRequest(
        request_id=request_id(f"order {number}"),
        customer_id=f"hostile-{number % 3}",
        currency_code="EUR",
        payment_method_token="tok_declined" if number % 6 == 5 else "tok_visa",
        lines=[OrderLine(sku=SKUS[0], quantity=5, unit_price_minor=100)],
    )
    order_id = str(call(stub.CreateOrder, request).order.order_id)
    if number % 4 == 0:
        _ship(call, stub, order_id)
    return order_id


def _ship(call: Call, stub: OrderServiceStub, order_id: str) -> None:
    request = ShipOrderRequest(
        request_id=request_id(f"ship {order_id}"),
        order_id=order_id,
        carrier="DHL",
        tracking_number="JD 1",
    )
    request.lines.add(sku=SKUS[0], quantity=3)

    def shipped() -> bool:
        try:
            call(stub.ShipOrder, request)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                raise
            return False
        return True

    wait_for(shipped, what="an order to be confirmed and shipped")


def _account(call: Call, channel: grpc.Channel, number: int) -> tuple[str, Any, Any]:
    stub = IdentityServiceStub(channel)
    email = f"hostile-{number}@example.com"
    register = RegisterUserRequest(request_id=request_id(email), email=email, password=PASSWORD)
    call(stub.RegisterUser, register)
    answer = call(stub.Login, LoginRequest(email=email, password=PASSWORD, device="a browser"))
    return email, answer.session, answer.tokens
