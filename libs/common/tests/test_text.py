from __future__ import annotations

import pytest
from google.protobuf import struct_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st
from trackops.order.v1 import order_pb2, order_saga_service_pb2, order_service_pb2

from trackops_common.grpc.text import normalise_text, printable
from trackops_common.grpc.validation import validation_failure

COMPOSED = "Caf\u00e9"
DECOMPOSED = "Cafe\u0301"


def _paths(message: Message) -> list[str]:
    return [path for path, _ in normalise_text(message)]


def _close(message: str) -> order_saga_service_pb2.CloseOrderRequest:
    return order_saga_service_pb2.CloseOrderRequest(
        request_id="6f1c0000-0000-4000-8000-00000000000a",
        order_id="6f1c0000-0000-4000-8000-00000000000b",
        reason="OUT_OF_STOCK",
        message=message,
    )


def test_composed_and_decomposed_text_become_the_same_message() -> None:
    decomposed = _close(DECOMPOSED)

    assert normalise_text(decomposed) == []
    assert decomposed == _close(COMPOSED)


@pytest.mark.parametrize("text", ["", "plain", "漢字", "a\u00a0b", "tea \U0001f375", "שלום"])
def test_text_of_any_script_is_accepted_as_it_is(text: str) -> None:
    message = _close(text)

    assert normalise_text(message) == []
    assert message.message == text


@pytest.mark.parametrize(
    "character",
    [
        *("\x00", "\x1b", "\r", "\n", "\t", "\x7f", "\x85"),
        *map(chr, range(0x2028, 0x202F)),
        *map(chr, range(0x2066, 0x206A)),
    ],
    ids=lambda character: f"U+{ord(character):04X}",
)
def test_a_control_character_is_refused_by_its_number(character: str) -> None:
    violations = normalise_text(_close(f"fine{character}not"))

    rule = f"must not contain the control character U+{ord(character):04X}"
    assert violations == [("message", rule)]


def test_every_refused_text_is_named_with_its_path() -> None:
    good = order_pb2.OrderLine(sku="TEA-1", quantity=1)
    bad = order_pb2.OrderLine(sku="TEA\n1", quantity=1)
    batch = order_service_pb2.BatchCreateOrdersRequest(
        requests=[
            order_service_pb2.CreateOrderRequest(customer_id="fine", lines=[good]),
            order_service_pb2.CreateOrderRequest(customer_id="not\x00", lines=[good, bad]),
        ]
    )

    assert _paths(batch) == ["requests[1].customer_id", "requests[1].lines[1].sku"]


def test_the_elements_of_a_list_are_searched() -> None:
    request = order_service_pb2.BatchGetOrdersRequest(order_ids=["a", DECOMPOSED, "c\x1b"])

    assert _paths(request) == ["order_ids[2]"]
    assert request.order_ids[1] == COMPOSED


def test_the_keys_and_values_of_a_map_are_searched() -> None:
    info = error_details_pb2.ErrorInfo(metadata={DECOMPOSED: DECOMPOSED, "k": "\x00", "e\x1b": ""})

    assert sorted(_paths(info)) == ["metadata[e\\x1b]", "metadata[k]"]
    assert info.metadata[COMPOSED] == COMPOSED


def test_keys_that_become_one_are_refused() -> None:
    info = error_details_pb2.ErrorInfo(metadata={DECOMPOSED: "1", COMPOSED: "2"})

    assert normalise_text(info) == [(f"metadata[{COMPOSED}]", "must not be the same key twice")]


def test_a_type_that_contains_itself_is_searched_to_its_depth() -> None:
    tree = struct_pb2.Struct()
    tree.update({DECOMPOSED: {"list": ["fine", {"bad": "\u202e"}]}})

    path = f"fields[{COMPOSED}].struct_value.fields[list].list_value.values[1].struct_value"
    assert _paths(tree) == [f"{path}.fields[bad].string_value"]
    assert normalise_text(struct_pb2.Struct()) == []


def test_what_is_not_set_stays_so() -> None:
    value = struct_pb2.Value(list_value=struct_pb2.ListValue(values=[{"string_value": "é"}]))  # type: ignore[list-item]

    assert normalise_text(value) == []
    assert value.WhichOneof("kind") == "list_value"


@given(st.text())
def test_what_was_accepted_once_is_accepted_unchanged(text: str) -> None:
    message = _close(text)
    if normalise_text(message) == []:
        settled = message.message
        assert normalise_text(message) == []
        assert message.message == settled == printable(settled)


def test_refused_text_and_broken_rules_are_named_at_once_and_each_field_once() -> None:
    request = _close("two\nlines")
    request.order_id = "not-a-uuid"
    request.reason = "\x00" * 65

    failure = validation_failure(request)

    assert failure is not None
    assert [path for path, _ in failure.violations] == ["reason", "message", "order_id"]


def test_the_rules_see_normalised_text() -> None:
    assert validation_failure(_close("e\u0301" * 1000)) is None
    assert validation_failure(_close("e\u0301" * 1001)) is not None
