"""Customers over gRPC: their own orders, and nobody else's."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2
from trackops.order.v1 import order_pb2
from trackops.order.v1 import order_service_pb2 as pb

from trackops_common.permissions import Role
from trackops_common.testing import ErrorDetails, error_details
from trackops_common.testing_tokens import access_token
from trackops_order.testing import OrderServer, create_request

Metadata = tuple[tuple[str, str], ...]


def token_of(subject: str, *roles: Role) -> Metadata:
    return (("authorization", f"Bearer {access_token(*roles, subject=subject)}"),)


@pytest.fixture
def ada() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def as_ada(ada: str) -> Metadata:
    return token_of(ada, Role.CUSTOMER)


@pytest.fixture
def as_ben() -> Metadata:
    return token_of(str(uuid.uuid4()), Role.CUSTOMER)


@pytest.fixture
def order(service: OrderServer, ada: str, as_ada: Metadata) -> order_pb2.Order:
    """One of Ada's, made by herself."""
    made: order_pb2.Order = service.orders.CreateOrder(
        create_request(customer_id=ada), metadata=as_ada
    ).order
    return made


def refusal(call: Callable[[], Any]) -> ErrorDetails:
    with pytest.raises(grpc.RpcError) as failed:
        call()
    return error_details(failed.value)


def cancellation(order_id: str) -> pb.CancelOrderRequest:
    return pb.CancelOrderRequest(request_id=str(uuid.uuid4()), order_id=order_id)


ONE_ORDER: dict[str, Callable[[Any, str, Metadata], Any]] = {
    "GetOrder": lambda orders, id_, as_: orders.GetOrder(
        pb.GetOrderRequest(order_id=id_), metadata=as_
    ),
    "GetOrder of a version that it never had": lambda orders, id_, as_: orders.GetOrder(
        pb.GetOrderRequest(order_id=id_, min_version=99), metadata=as_
    ),
    "GetOrderTimeline": lambda orders, id_, as_: orders.GetOrderTimeline(
        pb.GetOrderTimelineRequest(order_id=id_), metadata=as_
    ),
    "WatchOrder": lambda orders, id_, as_: next(
        orders.WatchOrder(pb.WatchOrderRequest(order_id=id_), metadata=as_)
    ),
    "WatchOrder after a version that it never had": lambda orders, id_, as_: next(
        orders.WatchOrder(pb.WatchOrderRequest(order_id=id_, after_version=99), metadata=as_)
    ),
    "CancelOrder": lambda orders, id_, as_: orders.CancelOrder(cancellation(id_), metadata=as_),
    "CancelOrder with an etag": lambda orders, id_, as_: orders.CancelOrder(
        pb.CancelOrderRequest(request_id=str(uuid.uuid4()), order_id=id_, etag="other"),
        metadata=as_,
    ),
}


@pytest.mark.parametrize("call", ONE_ORDER.values(), ids=ONE_ORDER)
def test_the_order_of_another_customer_does_not_exist(
    service: OrderServer,
    order: order_pb2.Order,
    as_ben: Metadata,
    call: Callable[[Any, str, Metadata], Any],
) -> None:
    unknown = str(uuid.uuid4())
    theirs = refusal(lambda: call(service.orders, order.order_id, as_ben))
    nobodys = refusal(lambda: call(service.orders, unknown, as_ben))

    assert theirs.code is grpc.StatusCode.NOT_FOUND
    assert (theirs.code, theirs.reason) == (nobodys.code, nobodys.reason)
    assert theirs.message.replace(order.order_id, unknown) == nobodys.message
    now = service.orders.GetOrder(pb.GetOrderRequest(order_id=order.order_id)).order
    assert now == order


def test_a_customer_sees_follows_and_cancels_an_own_order(
    service: OrderServer, order: order_pb2.Order, as_ada: Metadata
) -> None:
    id_ = order.order_id
    assert ONE_ORDER["GetOrder"](service.orders, id_, as_ada).order == order
    assert len(ONE_ORDER["GetOrderTimeline"](service.orders, id_, as_ada).entries) == 1
    assert ONE_ORDER["WatchOrder"](service.orders, id_, as_ada).order == order
    cancelled = ONE_ORDER["CancelOrder"](service.orders, id_, as_ada).order
    assert cancelled.state == order_pb2.ORDER_STATE_CANCELLING


def test_of_many_orders_a_customer_gets_the_own_ones(
    service: OrderServer, order: order_pb2.Order, as_ada: Metadata, as_ben: Metadata
) -> None:
    other = service.orders.CreateOrder(create_request(customer_id="somebody-else")).order
    wanted = pb.BatchGetOrdersRequest(order_ids=[other.order_id, order.order_id])
    assert list(service.orders.BatchGetOrders(wanted, metadata=as_ada).orders) == [order]
    assert list(service.orders.BatchGetOrders(wanted, metadata=as_ben).orders) == []
    assert len(service.orders.BatchGetOrders(wanted).orders) == 2


def test_in_a_batch_each_cancellation_fails_alone(
    service: OrderServer, order: order_pb2.Order, as_ada: Metadata
) -> None:
    other = service.orders.CreateOrder(create_request(customer_id="somebody-else")).order
    batch = pb.BatchCancelOrdersRequest(
        requests=[cancellation(other.order_id), cancellation(order.order_id)]
    )
    theirs, own = service.orders.BatchCancelOrders(batch, metadata=as_ada).results
    assert theirs.error.code == code_pb2.NOT_FOUND
    assert own.response.order.state == order_pb2.ORDER_STATE_CANCELLING


def test_a_customer_orders_for_nobody_else(
    service: OrderServer, ada: str, as_ada: Metadata
) -> None:
    details = refusal(
        lambda: service.orders.CreateOrder(create_request(customer_id="ben"), metadata=as_ada)
    )
    assert details.code is grpc.StatusCode.PERMISSION_DENIED
    assert (details.reason, details.metadata) == (
        "PERMISSION_DENIED",
        {"permission": "orders.create"},
    )
    batch = pb.BatchCreateOrdersRequest(
        requests=[create_request(customer_id="ben"), create_request(customer_id=ada)]
    )
    theirs, own = service.orders.BatchCreateOrders(batch, metadata=as_ada).results
    assert ErrorDetails.of_status(theirs.error).reason == "PERMISSION_DENIED"
    assert own.response.order.customer_id == ada


def test_a_listing_shows_a_customer_the_own_orders(
    service: OrderServer, ada: str, order: order_pb2.Order, as_ada: Metadata
) -> None:
    service.orders.CreateOrder(create_request(customer_id="somebody-else"))
    for customer_id in ("", ada):
        request = pb.ListOrdersRequest(customer_id=customer_id)
        found = service.orders.ListOrders(request, metadata=as_ada).orders
        assert [one.order_id for one in found] == [order.order_id]
    details = refusal(
        lambda: service.orders.ListOrders(
            pb.ListOrdersRequest(customer_id="somebody-else"), metadata=as_ada
        )
    )
    assert details.code is grpc.StatusCode.PERMISSION_DENIED
    assert details.metadata == {"permission": "orders.read"}


def test_a_page_token_of_a_listing_of_all_opens_nothing_to_a_customer(
    service: OrderServer, order: order_pb2.Order, as_ada: Metadata
) -> None:
    service.orders.CreateOrder(create_request(customer_id="somebody-else"))
    page = service.orders.ListOrders(pb.ListOrdersRequest(page_size=1))
    details = refusal(
        lambda: service.orders.ListOrders(
            pb.ListOrdersRequest(page_size=1, page_token=page.next_page_token), metadata=as_ada
        )
    )
    assert details.reason == "PAGE_TOKEN_INVALID"


def test_who_may_see_all_orders_besides_is_not_limited(
    service: OrderServer, order: order_pb2.Order
) -> None:
    both = token_of(str(uuid.uuid4()), Role.CUSTOMER, Role.SUPPORT)
    assert ONE_ORDER["GetOrder"](service.orders, order.order_id, both).order == order
    assert ONE_ORDER["CancelOrder"](service.orders, order.order_id, both).order.version == 2
    details = refusal(
        lambda: service.orders.CreateOrder(create_request(customer_id="ben"), metadata=both)
    )
    assert details.metadata == {"permission": "orders.create"}


def test_requests_of_two_callers_with_one_id_are_two(
    service: OrderServer, as_ada: Metadata, as_ben: Metadata
) -> None:
    request = create_request(customer_id="shop-customer")
    first = service.orders.CreateOrder(request, metadata=token_of("client:shop", Role.SERVICE))
    second = service.orders.CreateOrder(request, metadata=token_of("client:till", Role.SERVICE))
    assert first.order.order_id != second.order.order_id
