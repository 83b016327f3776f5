"""Addresses, metadata and notes over gRPC, and as they are stored and told."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from trackops.order.v1 import order_events_pb2, order_pb2, order_service_pb2

from trackops_common.database import Database
from trackops_common.testing import ErrorDetails, error_details
from trackops_order.testing import OrderServer, confirm_request, create_request

COMPOSED = "Caf\u00e9"
DECOMPOSED = "Cafe\u0301"
Request = order_service_pb2.CreateOrderRequest


def _address(recipient: str = "Ada Lovelace") -> order_pb2.Address:
    return order_pb2.Address(
        recipient=recipient,
        lines=["12 St James's Square", "2nd floor"],
        postal_code="SW1Y 4JH",
        locality="London",
        administrative_area="Greater London",
        country_code="GB",
    )


def _detailed() -> Request:
    request = create_request()
    request.shipping_address.CopyFrom(_address())
    request.billing_address.CopyFrom(_address("Charles Babbage"))
    request.metadata.update({"shop.channel": "web", "campaign": "", "umlaut": "\u00fc \U0001f375"})
    request.note = "please ring twice \u2014 \u00abla porte\u00bb"
    return request


def _refusal(service: OrderServer, request: Request) -> ErrorDetails:
    with pytest.raises(grpc.RpcError) as failed:
        service.orders.CreateOrder(request)
    return error_details(failed.value)


def _get(service: OrderServer, order_id: str) -> order_pb2.Order:
    return service.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=order_id)).order


def test_what_was_given_is_shown_told_and_kept_through_changes(
    service: OrderServer, service_rows: Database
) -> None:
    request = _detailed()

    order = service.orders.CreateOrder(request).order
    before = _get(service, order.order_id)
    service.sagas.ConfirmOrder(confirm_request(order.order_id))
    after = _get(service, order.order_id)

    assert before == order
    for shown in (order, after):
        assert shown.shipping_address == request.shipping_address
        assert shown.billing_address == request.billing_address
        assert dict(shown.metadata) == dict(request.metadata)
        assert shown.note == request.note
    (row,) = service_rows.fetch(
        "SELECT payload FROM outbox WHERE key = %(key)s AND aggregate_version = 1",
        {"key": order.order_id},
    )
    assert order_events_pb2.OrderPlaced.FromString(bytes(row[0])).order == order


def test_without_them_nothing_is_stored_and_nothing_is_shown(
    service: OrderServer, service_rows: Database
) -> None:
    order = service.orders.CreateOrder(create_request()).order

    assert not order.HasField("shipping_address") and not order.HasField("billing_address")
    assert (dict(order.metadata), order.note) == ({}, "")
    rows = service_rows.fetch(
        "SELECT details IS NULL FROM orders WHERE order_id = %(id)s", {"id": order.order_id}
    )
    assert [row[0] for row in rows] == [True]


def test_a_listing_shows_the_order_without_them(service: OrderServer) -> None:
    request = _detailed()
    request.customer_id = f"customer-{uuid.uuid4()}"
    order = service.orders.CreateOrder(request).order

    (listed,) = service.orders.ListOrders(
        order_service_pb2.ListOrdersRequest(customer_id=request.customer_id)
    ).orders

    for field in ("shipping_address", "billing_address", "metadata", "note"):
        order.ClearField(field)
    assert listed == order


def test_metadata_that_stands_in_another_order_is_the_same_request(service: OrderServer) -> None:
    request = create_request().SerializeToString()
    one = Request(metadata={"a": "1"}).SerializeToString()
    other = Request(metadata={"b": "2"}).SerializeToString()
    assert one + other != other + one

    first = service.orders.CreateOrder(Request.FromString(request + one + other))
    again = service.orders.CreateOrder(Request.FromString(request + other + one))

    assert dict(first.order.metadata) == {"a": "1", "b": "2"}
    assert again == first


def test_text_is_composed_wherever_it_stands(service: OrderServer) -> None:
    request = _detailed()
    request.note = request.shipping_address.lines[1] = request.metadata["umlaut"] = DECOMPOSED
    request.billing_address.locality = DECOMPOSED
    first = service.orders.CreateOrder(request)

    request.note = request.metadata["umlaut"] = request.billing_address.locality = COMPOSED

    assert service.orders.CreateOrder(request) == first
    order = _get(service, first.order.order_id)
    assert order.note == order.metadata["umlaut"] == order.billing_address.locality == COMPOSED
    assert order.shipping_address.lines[1] == COMPOSED


def _set(path: str, value: Any) -> Callable[[Request], None]:
    def change(request: Request) -> None:
        message: Any = request
        *parents, name = path.split(".")
        for parent in parents:
            message = getattr(message, parent)
        setattr(message, name, value)

    return change


WRONG: list[tuple[Callable[[Request], object], str]] = [
    (_set("currency_code", "eur"), "currency_code"),
    (_set("currency_code", "ABC"), "currency_code"),
    (_set("currency_code", "XXX"), "currency_code"),
    (_set("note", "x" * 2001), "note"),
    (_set("note", "two\nlines"), "note"),
    (_set("shipping_address.recipient", ""), "shipping_address.recipient"),
    (_set("shipping_address.recipient", "x" * 201), "shipping_address.recipient"),
    (_set("shipping_address.locality", ""), "shipping_address.locality"),
    (_set("shipping_address.locality", "bell \x07"), "shipping_address.locality"),
    (_set("billing_address.postal_code", "x" * 21), "billing_address.postal_code"),
    (_set("billing_address.administrative_area", "x" * 201), "billing_address.administrative_area"),
    (_set("billing_address.country_code", "gb"), "billing_address.country_code"),
    (_set("billing_address.country_code", "UK"), "billing_address.country_code"),
    (lambda request: request.billing_address.ClearField("lines"), "billing_address.lines"),
    (lambda r: r.billing_address.lines.extend(["3", "4"]), "billing_address.lines"),
    (lambda r: r.billing_address.lines.append(""), "billing_address.lines[2]"),
    (lambda r: r.billing_address.lines.append("a\tb"), "billing_address.lines[2]"),
    (lambda r: r.metadata.update({f"k{n}": "" for n in range(62)}), "metadata"),
    (lambda r: r.metadata.update({"Upper": ""}), "metadata[Upper]"),
    (lambda r: r.metadata.update({"x" * 64: ""}), f"metadata[{'x' * 64}]"),
    (lambda r: r.metadata.update({"": ""}), "metadata[]"),
    (lambda r: r.metadata.update({"long": "x" * 513}), "metadata[long]"),
    (lambda r: r.metadata.update({"control": "\x1b[2J"}), "metadata[control]"),
]


@pytest.mark.parametrize(("change", "field"), WRONG)
def test_a_value_that_breaks_a_rule_is_named_by_its_path(
    service: OrderServer, service_rows: Database, change: Callable[[Request], object], field: str
) -> None:
    request = _detailed()
    request.customer_id = f"customer-{uuid.uuid4()}"
    change(request)

    details = _refusal(service, request)

    assert (details.code, details.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert set(details.violations) == {field}
    assert not service_rows.fetch(
        "SELECT FROM orders WHERE customer_id = %(id)s", {"id": request.customer_id}
    )


def test_the_longest_values_are_accepted_and_kept(service: OrderServer) -> None:
    request = _detailed()
    longest = "\U0001f375" * 200
    request.shipping_address.recipient = longest
    request.shipping_address.lines[:] = [longest] * 3
    request.note = "\U0001f375" * 2000
    request.metadata.clear()
    request.metadata.update({f"{n:02}" + "x" * 61: "\U0001f375" * 512 for n in range(64)})

    order = service.orders.CreateOrder(request).order

    found = _get(service, order.order_id)
    assert found == order
    assert (found.note, dict(found.metadata)) == (request.note, dict(request.metadata))
