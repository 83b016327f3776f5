"""What other teams install, against the mesh: the example of the README, and `grpc.aio`."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_pb2 import Order, OrderLine, OrderState
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_cli.testing import Mesh
from trackops_client import TrackOpsError, open_aio_channel, open_channel, typed_errors
from trackops_client.calls import AsyncTokenProvider, TokenProvider

README = Path(__file__).parents[2] / "README.md"
EXAMPLE_TARGET = "dns:///order:5051"


@pytest.fixture
def target(mesh: Mesh) -> str:
    return f"dns:///{mesh.target('order')}"


@pytest.fixture
def token(mesh: Mesh) -> TokenProvider:
    return mesh.token


@pytest.fixture
def aio_token(mesh: Mesh) -> AsyncTokenProvider:
    async def token() -> str:
        return mesh.token()

    return token


def _examples() -> list[str]:
    """The section's pieces of Python, in their order."""
    section = re.search(
        r"^## From your own service$(.*?)^## ",
        README.read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
    assert section, "the README has lost its section"
    return re.findall(r"^```python\n(.*?)^```$", section[1], re.DOTALL | re.MULTILINE)


def test_the_example_of_the_readme_places_an_order(target: str, token: TokenProvider) -> None:
    example = _examples()[0]
    assert EXAMPLE_TARGET in example
    names: dict[str, Any] = {"access_token": token}

    exec(example.replace(EXAMPLE_TARGET, target), names)  # noqa: S102 - the README

    order: Order = names["order"]
    assert (order.customer_id, order.total_minor) == ("ada", 900)
    assert order.state == OrderState.ORDER_STATE_PENDING
    uuid.UUID(names["request"].request_id)


def test_the_example_of_the_readme_follows_an_order_to_its_end(
    target: str, token: TokenProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody has stock of it, so that it ends."""
    place, follow = (example.replace(EXAMPLE_TARGET, target) for example in _examples())
    sku = f"NONE-{uuid.uuid4().hex[:8].upper()}"
    names: dict[str, Any] = {"access_token": token}
    exec(place.replace("TEA-1", sku), names)  # noqa: S102 - the README

    exec(follow, names)  # noqa: S102 - the README

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    versions = [int(version) for version, _ in lines]
    assert versions == list(range(versions[0], versions[-1] + 1))
    assert int(lines[-1][1]) == OrderState.ORDER_STATE_REJECTED


async def test_an_aio_caller_places_an_order_and_a_repeat_is_the_same_one(
    target: str, aio_token: AsyncTokenProvider
) -> None:
    request = order_service_pb2.CreateOrderRequest(
        customer_id="ada",
        currency_code="EUR",
        lines=[OrderLine(sku="TEA-1", quantity=2, unit_price_minor=450)],
        payment_method_token="tok_visa",
    )
    async with open_aio_channel(target, token=aio_token) as channel:
        orders = OrderServiceStub(channel)
        first = await orders.CreateOrder(request)
        again = await orders.CreateOrder(request)

    assert first.order.total_minor == 900
    assert again == first


def test_a_refusal_is_a_typed_error(target: str, token: TokenProvider) -> None:
    unknown = str(uuid.uuid4())
    with (
        open_channel(target, token=token) as channel,
        pytest.raises(TrackOpsError) as failed,
        typed_errors(),
    ):
        OrderServiceStub(channel).GetOrder(order_service_pb2.GetOrderRequest(order_id=unknown))

    error = failed.value
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND")
    assert error.metadata == {"order_id": unknown}


async def test_wrong_fields_are_named_to_an_aio_caller(
    target: str, aio_token: AsyncTokenProvider
) -> None:
    request = order_service_pb2.CreateOrderRequest(customer_id="two\nlines", currency_code="EUR")
    async with open_aio_channel(target, token=aio_token) as channel:
        with pytest.raises(TrackOpsError) as failed, typed_errors():
            await OrderServiceStub(channel).CreateOrder(request)

    assert failed.value.reason == "INVALID_REQUEST"
    wrong = [violation.path for violation in failed.value.violations]
    assert wrong == ["customer_id", "lines", "payment_method_token"]
