"""What somebody on call does, on the whole mesh."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from trackops.inventory.v1.inventory_service_pb2 import AdjustStockRequest
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from typer.testing import CliRunner, Result

from trackops_cli.local.ports import variable_of
from trackops_cli.main import app
from trackops_cli.testing import Mesh, wait_for
from trackops_client import open_channel

NOBODY = "127.0.0.1:1"


class OnCall:
    """The command, told where the mesh is."""

    def __init__(self, mesh: Mesh) -> None:
        context = mesh.stack.context
        ports = {variable_of(name): str(port) for name, port in vars(context.ports).items()}
        self._environment = {
            "TRACKOPS_HOME": str(context.home.root),
            "COLUMNS": "200",
            "TERM": "dumb",
            **ports,
        }
        self.letters_before: int = self.json("status")["deadLetters"]
        """Dead letters that tests before these have left on the mesh."""

    def run(self, *words: str, status: int = 0) -> Result:
        result = self.invoke(*words)
        assert result.exit_code == status, result.output
        return result

    def invoke(self, *words: str) -> Result:
        return CliRunner().invoke(app, words, env=self._environment)

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", status=status).stdout)

    def place(self, *options: str) -> str:
        words = ("--sku", f"{SKU}=3@300", "--customer", "ada", *options)
        order_id: str = self.json("order", "create", *words)["orderId"]
        return order_id

    def until(self, order_id: str, state: str) -> Any:
        def there() -> bool:
            found: str = self.json("order", "get", order_id)["state"]
            return found == f"ORDER_STATE_{state}"

        wait_for(there, what=f"order {order_id} {state}")


SKU = f"TEA-{uuid.uuid4().hex[:8].upper()}"


@pytest.fixture(scope="module")
def on_call(mesh: Mesh) -> OnCall:
    with open_channel(mesh.target("inventory"), token=mesh.token, wait_for_ready=True) as channel:
        InventoryServiceStub(channel).AdjustStock(AdjustStockRequest(sku=SKU, delta=1_000))
    return OnCall(mesh)


def test_an_order_goes_all_its_way_by_command(on_call: OnCall) -> None:
    order_id = on_call.place()
    on_call.until(order_id, "CONFIRMED")

    carried = ("--carrier", "post", "--tracking", "X1")
    assert (
        "FULFILLING" in on_call.run("order", "ship", order_id, *carried, "--sku", f"{SKU}=1").output
    )
    assert "SHIPPED" in on_call.run("order", "ship", order_id, *carried).output
    assert "DELIVERED" in on_call.run("order", "deliver", order_id).output
    back = on_call.json("order", "return", order_id, "--reason", "cold", "--sku", f"{SKU}=1")
    assert back["state"] == "ORDER_STATE_PARTIALLY_RETURNED"
    assert "RETURNED" in on_call.run("order", "return", order_id, "--reason", "cold").output

    refused = on_call.run("order", "cancel", order_id, status=1)
    assert "FORBIDDEN_TRANSITION" in refused.stderr
    watched = on_call.run("order", "watch", order_id, "--after-version", "1").stdout
    assert [line.split("  ")[2].split(":")[0] for line in watched.splitlines()] == [
        "CONFIRMED", "FULFILLING", "SHIPPED", "DELIVERED", "PARTIALLY_RETURNED", "RETURNED",
    ]  # fmt: skip
    listed = on_call.json("order", "list", "--sku", SKU, "--state", "returned")["orders"]
    assert [one["orderId"] for one in listed] == [order_id]


def test_the_same_request_is_one_order(on_call: OnCall) -> None:
    request_id = str(uuid.uuid4())

    assert on_call.place("--request-id", request_id) == on_call.place("--request-id", request_id)


def test_each_way_to_fail_has_its_status_and_says_what_to_do(on_call: OnCall) -> None:
    no_order = str(uuid.uuid4())
    assert "ORDER_NOT_FOUND" in on_call.run("order", "get", no_order, status=1).stderr
    assert "order_id: must be a valid UUID" in on_call.run("order", "get", "x", status=1).stderr
    words = ("order", "create", "--customer", "ada", "--sku", "TEA")
    assert "SKU=QUANTITY@PRICE" in on_call.run(*words, status=2).stderr
    assert "is none of" in on_call.run("order", "list", "--state", "lost", status=2).stderr
    assert (
        "`trackops up`"
        in on_call.run("order", "get", no_order, "--order-target", NOBODY, status=3).stderr
    )
    unsure = on_call.run("order", "cancel", no_order, "--order-target", NOBODY, status=3).stderr
    assert "--request-id" in unsure


def test_a_compensated_order_is_told_whole(on_call: OnCall) -> None:
    order_id = on_call.place("--payment-method", "tok_declined")
    on_call.until(order_id, "REJECTED")
    whats: list[str] = []

    def complete() -> bool:
        told = on_call.json("order", "timeline", order_id)["timeline"]
        whats[:] = [one["what"] for one in told]
        return "place-order COMPENSATED" in whats and sum("PUBLISHED" in one for one in whats) == 5

    wait_for(complete, what=f"the whole story of {order_id}")
    assert [one for one in whats if one.startswith(("v1", "v2"))] == ["v1 PENDING", "v2 REJECTED"]
    assert {one.split()[0] for one in whats if one.endswith("PUBLISHED")} == {
        "OrderPlaced", "StockReserved", "PaymentDeclined", "StockReleased", "OrderRejected",
    }  # fmt: skip
    story = on_call.json("order", "timeline", order_id)
    times = [one["time"] for one in story["timeline"]]
    assert times == sorted(times)
    assert all("offset" in one for one in story["events"])
    assert (story["advice"], story["missing"]) == ([], [])

    shown = on_call.run("order", "timeline", order_id).stdout
    assert "nothing holds it up" in shown
    assert "trackops.payment.events.v1[" in shown
    alone = on_call.run("order", "timeline", order_id, "--relay-target", NOBODY, status=3)
    assert "place-order COMPENSATED" in alone.stdout
    assert f"outbox_relay at {NOBODY}" in alone.stderr


def test_an_order_that_waits_for_a_service_says_for_which(on_call: OnCall, mesh: Mesh) -> None:
    payment = mesh.stack.services["payment"]
    payment.stop()
    try:
        order_id = on_call.place()
        told: list[Any] = []

        def known() -> bool:
            told[:] = on_call.json("order", "timeline", order_id)["advice"]
            return any("payment" in one["problem"] for one in told)

        wait_for(known, seconds=60, what="the orchestrator to miss payment")
        status = on_call.run("status", status=1).stdout
        assert "payment" in on_call.run("doctor", status=1).stdout
        down = next(line for line in status.splitlines() if line.startswith("payment"))
        assert down.split()[-1] == "down"
    finally:
        payment.start()
    on_call.until(order_id, "CONFIRMED")


def test_all_is_well_with_the_mesh(on_call: OnCall) -> None:
    left = on_call.letters_before
    expected = [f"{left} dead letters wait"] if left else []

    def quiet() -> bool:
        found = on_call.invoke("doctor", "--json")
        return found.exit_code == (1 if left else 0) and expected == [
            one["what"] for one in json.loads(found.stdout)["findings"] if not one["ok"]
        ]

    wait_for(quiet, seconds=60, what="a doctor who finds nothing new")
    status = on_call.json("status")
    assert all(one["ready"] for one in status["parts"])
    assert {one["name"] for one in status["sources"]} >= {"trackops_order", "trackops_payment"}
    assert (status["sagas"]["NEEDS_OPERATOR"], status["deadLetters"]) == (0, left)
    on_call.run("status", "--watch", "--json", status=2)
