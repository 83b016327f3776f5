"""Shipping, delivering and returning over gRPC, on real servers."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from trackops.order.v1 import (
    order_events_pb2,
    order_pb2,
    order_saga_service_pb2,
    order_service_pb2,
)

from trackops_common.database import Database
from trackops_common.testing import ErrorDetails, error_details
from trackops_order.testing import OrderServer, create_request


def _confirmed(service: OrderServer) -> str:
    """A confirmed order of 1 SKU-1 and 2 SKU-2, each piece for 100."""
    order_id: str = service.orders.CreateOrder(create_request(lines=2)).order.order_id
    service.sagas.ConfirmOrder(
        order_saga_service_pb2.ConfirmOrderRequest(request_id=_id(), order_id=order_id)
    )
    return order_id


def _id() -> str:
    return str(uuid.uuid4())


def _ship(order_id: str, **pieces: int) -> order_service_pb2.ShipOrderRequest:
    return order_service_pb2.ShipOrderRequest(
        request_id=_id(),
        order_id=order_id,
        lines=_pieces(pieces),
        carrier="UPS",
        tracking_number="1Z999",
    )


def _deliver(order_id: str) -> order_service_pb2.DeliverOrderRequest:
    return order_service_pb2.DeliverOrderRequest(request_id=_id(), order_id=order_id)


def _return(order_id: str, **pieces: int) -> order_service_pb2.ReturnOrderRequest:
    return order_service_pb2.ReturnOrderRequest(
        request_id=_id(), order_id=order_id, lines=_pieces(pieces), reason="too small"
    )


def _pieces(pieces: dict[str, int]) -> list[order_pb2.Pieces]:
    """`SKU_1=2` is two of SKU-1."""
    return [
        order_pb2.Pieces(sku=name.replace("_", "-"), quantity=quantity)
        for name, quantity in pieces.items()
    ]


def _failure(call: Any, request: Message) -> ErrorDetails:
    with pytest.raises(grpc.RpcError) as failed:
        call(request)
    return error_details(failed.value)


def test_an_order_is_shipped_in_parts_delivered_and_returned_in_parts(
    service: OrderServer,
) -> None:
    order_id = _confirmed(service)

    part = service.orders.ShipOrder(_ship(order_id, SKU_2=1))
    rest = service.orders.ShipOrder(_ship(order_id, SKU_1=1, SKU_2=1))
    delivered = service.orders.DeliverOrder(_deliver(order_id))
    one_back = service.orders.ReturnOrder(_return(order_id, SKU_2=1))
    all_back = service.orders.ReturnOrder(_return(order_id, SKU_2=1, SKU_1=1))

    answers = (part, rest, delivered, one_back, all_back)
    assert [order_pb2.OrderState.Name(one.order.state)[12:] for one in answers] == [
        "FULFILLING",
        "SHIPPED",
        "DELIVERED",
        "PARTIALLY_RETURNED",
        "RETURNED",
    ]
    assert (part.shipment.carrier, part.shipment.tracking_number) == ("UPS", "1Z999")
    assert list(part.shipment.lines) == _pieces({"SKU_2": 1})
    assert [line.shipped_quantity for line in part.order.lines] == [0, 1]
    assert one_back.goods_return.refund_minor == one_back.order.refunded_minor == 100
    assert all_back.goods_return.reason == "too small"
    assert [line.sku for line in all_back.goods_return.lines] == ["SKU-1", "SKU-2"]
    assert all_back.goods_return.refund_minor == 200
    assert all_back.order.refunded_minor == all_back.order.total_minor == 300
    found = service.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=order_id))
    assert found.order == all_back.order


def test_the_timeline_tells_what_left_and_what_came_back(service: OrderServer) -> None:
    order_id = _confirmed(service)
    shipped = service.orders.ShipOrder(_ship(order_id, SKU_2=2, SKU_1=1))
    returned = service.orders.ReturnOrder(_return(order_id, SKU_2=1))

    entries = service.orders.GetOrderTimeline(
        order_service_pb2.GetOrderTimelineRequest(order_id=order_id)
    ).entries

    assert [entry.version for entry in entries] == [1, 2, 3, 4]
    assert entries[2].shipment.shipment_id == shipped.shipment.shipment_id
    assert list(entries[2].shipment.lines) == _pieces({"SKU_1": 1, "SKU_2": 2})
    assert entries[3].goods_return == returned.goods_return
    assert not entries[1].HasField("shipment") and not entries[1].HasField("goods_return")


def test_too_many_pieces_are_refused_with_how_many_are_left(service: OrderServer) -> None:
    order_id = _confirmed(service)
    service.orders.ShipOrder(_ship(order_id, SKU_2=1))

    details = _failure(service.orders.ShipOrder, _ship(order_id, SKU_2=2))

    assert details.code is grpc.StatusCode.FAILED_PRECONDITION
    assert details.reason == "TOO_MANY_PIECES"
    assert details.metadata == {
        "order_id": order_id,
        "sku": "SKU-2",
        "requested": "2",
        "available": "1",
    }


def test_a_stale_etag_is_aborted_and_the_order_s_own_is_not(service: OrderServer) -> None:
    order_id = _confirmed(service)
    read = order_service_pb2.GetOrderRequest(order_id=order_id)
    etag = service.orders.GetOrder(read).order.etag
    part, rest = _ship(order_id, SKU_2=1), _ship(order_id, SKU_1=1, SKU_2=1)
    part.etag = rest.etag = etag

    current = service.orders.ShipOrder(part).order.etag
    details = _failure(service.orders.ShipOrder, rest)

    assert (details.code, details.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert details.metadata == {"order_id": order_id, "etag": etag, "current": current}
    assert service.orders.GetOrder(read).order.etag == current != etag
    for call, request in (
        (service.orders.DeliverOrder, _deliver(order_id)),
        (service.orders.ReturnOrder, _return(order_id, SKU_1=1)),
    ):
        request.etag = etag
        assert _failure(call, request).reason == "ETAG_MISMATCH"


def test_a_step_out_of_turn_names_both_states(service: OrderServer) -> None:
    order_id = _confirmed(service)

    delivered = _failure(service.orders.DeliverOrder, _deliver(order_id))
    returned = _failure(service.orders.ReturnOrder, _return(order_id, SKU_1=1))

    for details, to in ((delivered, "DELIVERED"), (returned, "RETURNED")):
        assert details.reason == "FORBIDDEN_TRANSITION"
        assert details.metadata == {"order_id": order_id, "from": "CONFIRMED", "to": to}


def test_a_sku_in_two_lines_of_a_shipment_is_refused_as_a_field(service: OrderServer) -> None:
    request = _ship(_confirmed(service), SKU_1=1)
    request.lines.add().CopyFrom(request.lines[0])

    details = _failure(service.orders.ShipOrder, request)

    assert (details.code, details.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert set(details.violations) == {"lines"}


@pytest.mark.parametrize("reason", ["bell \x07", "x" * 1001, "line\nbreak"])
def test_a_reason_that_is_not_a_line_of_text_is_refused(service: OrderServer, reason: str) -> None:
    request = _return(_id(), SKU_1=1)
    request.reason = reason

    assert set(_failure(service.orders.ReturnOrder, request).violations) == {"reason"}


def test_a_repeat_gets_the_same_bytes_and_fifty_at_once_ship_once(service: OrderServer) -> None:
    request = _ship(_confirmed(service), SKU_2=1)

    calls = [service.orders.ShipOrder.future(request, timeout=30) for _ in range(50)]
    answers = {call.result().SerializeToString() for call in calls}

    assert answers == {service.orders.ShipOrder(request).SerializeToString()}
    answer = order_service_pb2.ShipOrderResponse.FromString(answers.pop())
    assert (answer.order.version, answer.order.lines[1].shipped_quantity) == (3, 1)


def test_each_of_a_batch_succeeds_or_fails_alone(service: OrderServer) -> None:
    one, other, unknown = _confirmed(service), _confirmed(service), _id()
    whole = {"SKU_1": 1, "SKU_2": 2}

    shipped = service.orders.BatchShipOrders(
        order_service_pb2.BatchShipOrdersRequest(
            requests=[_ship(one, **whole), _ship(unknown, SKU_1=1), _ship(other, SKU_1=1)]
        )
    )
    delivered = service.orders.BatchDeliverOrders(
        order_service_pb2.BatchDeliverOrdersRequest(requests=[_deliver(other), _deliver(one)])
    )
    returned = service.orders.BatchReturnOrders(
        order_service_pb2.BatchReturnOrdersRequest(
            requests=[_return(one, SKU_1=1), _return(one, SKU_1=1), _return(one, SKU_2=1)]
        )
    )

    outcomes = [
        [result.WhichOneof("result") for result in batch.results]
        for batch in (shipped, delivered, returned)
    ]
    assert outcomes == [
        ["response", "error", "response"],
        ["error", "response"],
        ["response", "error", "response"],
    ]
    assert returned.results[2].response.order.refunded_minor == 200


def test_every_step_leaves_as_an_event(service: OrderServer, service_rows: Database) -> None:
    order_id = _confirmed(service)
    shipped = service.orders.ShipOrder(_ship(order_id, SKU_1=1, SKU_2=2))
    service.orders.DeliverOrder(_deliver(order_id))
    returned = service.orders.ReturnOrder(_return(order_id, SKU_2=1))

    rows = service_rows.fetch(
        "SELECT type, aggregate_version, payload FROM outbox WHERE key = %(key)s ORDER BY seq",
        {"key": order_id},
    )[2:]

    assert [(row[0].rpartition(".")[2], row[1]) for row in rows] == [
        ("OrderShipped", 3),
        ("OrderDelivered", 4),
        ("OrderReturned", 5),
    ]
    assert order_events_pb2.OrderShipped.FromString(bytes(rows[0][2])) == (
        order_events_pb2.OrderShipped(
            order_id=order_id,
            customer_id="customer-1",
            state=order_pb2.ORDER_STATE_SHIPPED,
            shipment=shipped.shipment,
            amount_minor=300,
            currency_code="EUR",
        )
    )
    assert order_events_pb2.OrderReturned.FromString(bytes(rows[2][2])) == (
        order_events_pb2.OrderReturned(
            order_id=order_id,
            customer_id="customer-1",
            state=order_pb2.ORDER_STATE_PARTIALLY_RETURNED,
            goods_return=returned.goods_return,
            currency_code="EUR",
        )
    )
