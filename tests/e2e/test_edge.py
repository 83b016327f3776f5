"""The whole way of an order over HTTPS: what a shop and its warehouse do with nothing but HTTP."""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPSConnection
from typing import Any

import grpc
import pytest
from trackops.inventory.v1 import inventory_service_pb2
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub

from trackops_cli.credentials import Credentials
from trackops_cli.testing import Mesh, wait_for

SKU = "E2E-EDGE-TEA"
_SECONDS = 20


@dataclass(frozen=True)
class Caller:
    """Somebody with a token, or without one."""

    mesh: Mesh
    token: str = ""

    def call(
        self, verb: str, path: str, body: Mapping[str, object] | None = None
    ) -> tuple[int, Any]:
        """Status and JSON of one call."""
        with closing(self.connection()) as connection:
            connection.request(verb, path, None if body is None else json.dumps(body), self.headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def done(self, verb: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """The JSON of a call that has to succeed."""
        status, answer = self.call(verb, path, body)
        assert status == 200, answer
        return answer

    def connection(self) -> HTTPSConnection:
        edge = self.mesh.stack.edge
        trust = ssl.create_default_context(cafile=str(edge.certificate.authority))
        host, _, port = edge.url.removeprefix("https://").rpartition(":")
        return HTTPSConnection(host, int(port), timeout=_SECONDS, context=trust)

    @property
    def headers(self) -> dict[str, str]:
        token = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return {"content-type": "application/json", **token}


def token_of(mesh: Mesh, role: str) -> str:
    credentials = Credentials.of_stack(mesh.stack.context.home, mesh.target("identity"))
    return credentials.access_token(role)


@pytest.fixture(scope="module")
def warehouse(mesh: Mesh) -> Caller:
    return Caller(mesh, token_of(mesh, "operator"))


@pytest.fixture(scope="module")
def stock(mesh: Mesh, warehouse: Caller) -> Iterator[None]:
    request = inventory_service_pb2.AdjustStockRequest(
        request_id=str(uuid.uuid4()), sku=SKU, delta=100
    )
    with grpc.insecure_channel(mesh.target("inventory")) as channel:
        InventoryServiceStub(channel).AdjustStock(
            request,
            timeout=_SECONDS,
            metadata=(("authorization", f"Bearer {warehouse.token}"),),
        )
    yield


def test_an_order_from_the_shop_to_its_return(mesh: Mesh, warehouse: Caller, stock: None) -> None:
    account = {"email": f"{uuid.uuid4()}@example.com", "password": "correct horse battery staple"}
    nobody = Caller(mesh)
    user = nobody.done("POST", "/v1/users", {"request_id": str(uuid.uuid4()), **account})["user"]
    tokens = nobody.done("POST", "/v1/sessions:login", {**account, "device": "test"})["tokens"]
    customer = Caller(mesh, tokens["access_token"])
    sessions = customer.done("GET", f"/v1/users/{user['user_id']}/sessions")["sessions"]
    assert [one["device"] for one in sessions] == ["test"]

    order_id = place(customer, user["user_id"])
    assert states(customer, order_id)[-1] == "CONFIRMED"
    payment = warehouse.done("GET", f"/v1/orders/{order_id}/payment")["payment"]
    assert payment["state"] == "PAYMENT_STATE_AUTHORIZED"

    lines = {"lines": [{"sku": SKU, "quantity": 2}]}
    parcel = {"carrier": "DHL", "tracking_number": "JD 1"}
    change(warehouse, order_id, "ship", {**lines, **parcel})
    change(warehouse, order_id, "deliver", {})
    change(warehouse, order_id, "return", {**lines, "reason": "too small"})

    watched = watch(customer, order_id)
    assert [line["entry"]["version"] for line in watched] == ["2", "3", "4", "5"]
    listed = customer.done("GET", f"/v1/orders?customer_id={user['user_id']}")["orders"]
    assert [one["order_id"] for one in listed] == [order_id]
    assert states(customer, order_id) == [
        "PENDING",
        "CONFIRMED",
        "SHIPPED",
        "DELIVERED",
        "RETURNED",
    ]

    renewed = nobody.done(
        "POST", "/v1/sessions:refresh", {"refresh_token": tokens["refresh_token"]}
    )["tokens"]
    nobody.done("POST", "/v1/sessions:logout", {"refresh_token": renewed["refresh_token"]})
    status, problem = nobody.call(
        "POST", "/v1/sessions:refresh", {"refresh_token": renewed["refresh_token"]}
    )
    assert (status, problem["reason"]) == (401, "TOKEN_INVALID")


def test_a_service_s_refusals_come_as_problems(mesh: Mesh, warehouse: Caller) -> None:
    unknown = str(uuid.uuid4())
    status, problem = warehouse.call("GET", f"/v1/orders/{unknown}")
    assert (status, problem["reason"]) == (404, "ORDER_NOT_FOUND")
    assert problem["metadata"] == {"order_id": unknown}

    shop = Caller(mesh, token_of(mesh, "admin"))
    status, problem = shop.call("POST", "/v1/orders", {"currency_code": "euro"})
    assert (status, problem["reason"]) == (400, "INVALID_REQUEST")
    wrong = {one["field"] for one in problem["errors"]}
    assert {"request_id", "customer_id", "currency_code", "lines"} <= wrong

    status, problem = Caller(mesh).call(
        "POST", "/v1/sessions:login", {"email": "nobody@example.com", "password": "wrong"}
    )
    assert (status, problem["reason"]) == (401, "CREDENTIALS_INVALID")


def test_stock_is_read_over_rest(warehouse: Caller, stock: None) -> None:
    levels = warehouse.done("GET", f"/v1/stock?skus={SKU}&skus=E2E-UNKNOWN")["stock_levels"]

    assert [level["sku"] for level in levels] == [SKU]


def place(customer: Caller, customer_id: str) -> str:
    """An order, once it is not PENDING any more."""
    request = {
        "request_id": str(uuid.uuid4()),
        "customer_id": customer_id,
        "currency_code": "EUR",
        "payment_method_token": "tok_visa",
        "lines": [{"sku": SKU, "quantity": 2, "unit_price_minor": 450}],
    }
    order = customer.done("POST", "/v1/orders", request)["order"]
    assert order["total_minor"] == "900"
    assert customer.done("POST", "/v1/orders", request)["order"] == order
    order_id = str(order["order_id"])
    wait_for(lambda: len(states(customer, order_id)) > 1, what="the order to be confirmed")
    return order_id


def states(caller: Caller, order_id: str) -> list[str]:
    entries = caller.done("GET", f"/v1/orders/{order_id}/timeline")["entries"]
    return [entry["state"].removeprefix("ORDER_STATE_") for entry in entries]


def change(caller: Caller, order_id: str, verb: str, body: Mapping[str, object]) -> None:
    request = {"request_id": str(uuid.uuid4()), **body}
    caller.done("POST", f"/v1/orders/{order_id}:{verb}", request)


def watch(caller: Caller, order_id: str) -> list[Any]:
    """Every change after the first, as a stream that ends with the order's last."""
    with closing(caller.connection()) as connection:
        path = f"/v1/orders/{order_id}:watch?after_version=1"
        connection.request("GET", path, headers=caller.headers)
        response = connection.getresponse()
        assert response.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in response]
