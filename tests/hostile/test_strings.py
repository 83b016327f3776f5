"""Hostile text in every string of every RPC: kept as it is but for NFC, or refused by its field."""

from __future__ import annotations

import json
import random
import unicodedata
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from trackops.order.v1 import order_pb2, order_service_pb2
from typer.testing import CliRunner

from trackops_cli.local.ports import variable_of
from trackops_cli.main import app
from trackops_cli.testing import Mesh
from trackops_common.contracts import rpcs
from trackops_common.grpc.text import normalise_text
from trackops_common.grpc.validation import validation_failure

from .calls import Answer, Caller
from .rest import Request
from .samples import SKUS, Known, Sampler
from .strings import places, texts_of
from .texts import INERT, REFUSED, SURROGATE, TEXTS, harmful
from .watch import defects, ill_formed_lines

RPCS = {method.full_name: method for method in rpcs()}
ORDERS = order_service_pb2.DESCRIPTOR.services_by_name["OrderService"].methods_by_name


@pytest.fixture
def caller(hostile_mesh: Mesh) -> Iterator[Caller]:
    with closing(Caller(hostile_mesh)) as one:
        yield one


def variants(method: MethodDescriptor, text: str, known: Known) -> Iterator[tuple[str, Message]]:
    """A valid request for each of its strings, with `text` there; and the field's path."""
    count = len(list(places(_sample(method, known), text)))
    for number in range(count):
        request = _sample(method, known)
        path, put = list(places(request, text))[number]
        put()
        yield path, request


def _sample(method: MethodDescriptor, known: Known) -> Message:
    """The one that has most of what may be left out, with a request id of its own.

    What has to come from an answer is left out.
    """
    made = [Sampler(known).request(method, random.Random(seed)) for seed in range(12)]
    request: Any = max(made, key=lambda one: len(one.ListFields()))
    if "request_id" in request.DESCRIPTOR.fields_by_name:
        request.request_id = str(uuid.uuid4())
    for name in {"page_token", "etag"} & set(request.DESCRIPTOR.fields_by_name):
        request.ClearField(name)
    for field, value in request.ListFields():
        if (
            field.is_repeated
            and field.message_type
            and not field.message_type.GetOptions().map_entry
        ):
            del value[1:]  # what may stand there once only stands there once
    return request  # type: ignore[no-any-return]


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_steers_is_refused_in_every_field(text: str) -> None:
    """Every server asks `validation_failure` before anything else, as the next test shows."""
    missed = [
        f"{name}: {path}"
        for name, method in RPCS.items()
        for path, request in variants(method, text, Known())
        if (failure := validation_failure(request)) is None
        or not any(named.startswith(path.split("[")[0]) for named, _ in failure.violations)
        or any(map(harmful, (part for one in failure.violations for part in one)))
    ]

    assert missed == []


def test_every_field_of_every_rpc_keeps_text_inert(hostile_mesh: Mesh, known: Known) -> None:
    calls = [
        (method, path, text, request)
        for method in RPCS.values()
        for text in [*INERT.values(), TEXTS["overlong"], REFUSED["terminal"]]
        for path, request in variants(method, text, known)
    ]

    def share(number: int) -> list[str]:
        with closing(Caller(hostile_mesh)) as one:
            return [
                f"{method.full_name} {path} {text[:40]!a}: {wrong}"
                for method, path, text, request in calls[number::6]
                if (wrong := _wrong(one.direct(method, request.SerializeToString()), method, path))
            ]

    with ThreadPoolExecutor(6) as pool:
        wrong = [one for found in pool.map(share, range(6)) for one in found]

    assert len(calls) > 2_000
    assert wrong == []
    assert defects(hostile_mesh) == []
    assert ill_formed_lines(hostile_mesh) == []


def _wrong(answer: Answer, method: MethodDescriptor, path: str) -> str:
    """What is not as it should be in an answer to a request with hostile text at `path`."""
    if answer.code in ("UNKNOWN", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return f"{answer.code} {answer.text}"
    if steering := harmful("".join([answer.text, *answer.violations, *answer.violations.values()])):
        return f"the error has {steering}"
    if answer.code == "INVALID_ARGUMENT":
        return _unnamed(answer, path)
    if answer.code != "OK":
        return ""
    response = GetMessageClass(method.output_type).FromString(answer.body)
    shown = [text for _, text in texts_of(response)]
    denormal = [text for text in shown if unicodedata.normalize("NFC", text) != text]
    return f"came back as {denormal!a}" if denormal or any(map(harmful, shown)) else ""


def _unnamed(answer: Answer, path: str) -> str:
    """An id used twice and a page token name themselves by their reasons."""
    leaf = path.split("[")[0]
    told = [*answer.violations, answer.text]
    said = any(leaf in one or leaf.split(".")[-1] in one for one in told)
    return "" if said else f"{answer.text} does not name {path}: {answer.violations}"


@pytest.mark.parametrize("text", INERT.values(), ids=INERT)
def test_an_orders_text_comes_back_by_every_way(
    hostile_mesh: Mesh, caller: Caller, known: Known, text: str
) -> None:
    order = create(caller, text)
    expected = unicodedata.normalize("NFC", text)

    by_grpc = caller.direct(ORDERS["GetOrder"], _get(order.order_id).SerializeToString())
    by_rest = caller.rest(Request("GET", f"/v1/orders/{order.order_id}", None))
    shown = CliRunner().invoke(
        app,
        ["order", "get", order.order_id, "--json"],
        env=_environment(hostile_mesh),
    )

    assert shown.exit_code == 0, shown.output
    assert harmful(shown.output) == ""
    read = order_service_pb2.GetOrderResponse.FromString(by_grpc.body)
    for one in (
        MessageToDict(read, preserving_proto_field_name=True)["order"],
        json.loads(by_rest.body)["order"],
        json.loads(shown.output),
    ):
        found = one.get("order", one)
        assert note_of(found) == (expected, expected, [expected], {"key": expected}, expected)


def _environment(mesh: Mesh) -> dict[str, str]:
    """As it is on the machine of the mesh."""
    context = mesh.stack.context
    ports = {variable_of(name): str(port) for name, port in vars(context.ports).items()}
    return {"TRACKOPS_HOME": str(context.home.root), **ports}


def note_of(order: dict[str, Any]) -> tuple[Any, ...]:
    address = order.get("shipping_address") or order["shippingAddress"]
    recipient, lines, locality = address["recipient"], address["lines"], address["locality"]
    return order["note"], recipient, lines, order["metadata"], locality


def create(caller: Caller, text: str) -> order_pb2.Order:
    """An order with `text` wherever an order has free text."""
    request = order_service_pb2.CreateOrderRequest(
        request_id=str(uuid.uuid4()),
        customer_id="hostile",
        currency_code="EUR",
        payment_method_token="tok_visa",
        lines=[order_pb2.OrderLine(sku=SKUS[0], quantity=1, unit_price_minor=1)],
        shipping_address=order_pb2.Address(
            recipient=text, lines=[text], locality=text, country_code="CH"
        ),
        metadata={"key": text},
        note=text,
    )
    answer = caller.direct(ORDERS["CreateOrder"], request.SerializeToString())
    assert answer.code == "OK", answer
    return order_service_pb2.CreateOrderResponse.FromString(answer.body).order


def _get(order_id: str) -> order_service_pb2.GetOrderRequest:
    return order_service_pb2.GetOrderRequest(order_id=order_id)


@pytest.mark.parametrize("way", ["direct", "edge"])
def test_bytes_that_are_no_text_are_refused(caller: Caller, way: str) -> None:
    body = b"\x4a" + bytes([len(SURROGATE)]) + SURROGATE  # CreateOrderRequest.note

    send = caller.direct if way == "direct" else caller.through_edge
    assert send(ORDERS["CreateOrder"], body).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("text", [*REFUSED.values(), "\ud800 lone"], ids=[*REFUSED, "surrogate"])
def test_over_rest_it_is_refused_by_its_field(caller: Caller, text: str) -> None:
    body = json.dumps({"reason": text, "request_id": str(uuid.uuid4())}).encode()

    answer = caller.rest(Request("POST", f"/v1/orders/{uuid.uuid4()}:cancel", body))

    assert answer.code == "400"
    assert harmful(answer.text) == ""
    assert "surrogate" in answer.text.lower() or "reason" in answer.text


def test_normal_forms_are_what_is_meant() -> None:
    """The texts that are to survive are not refused, and one of them changes."""
    request = order_service_pb2.CreateOrderRequest(note=INERT["composed"])

    assert normalise_text(request) == []
    assert request.note == unicodedata.normalize("NFC", INERT["composed"]) != INERT["composed"]
