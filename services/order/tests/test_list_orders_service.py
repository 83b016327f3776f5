"""ListOrders over gRPC."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from trackops.order.v1 import order_pb2, order_saga_service_pb2
from trackops.order.v1.order_service_pb2 import (
    LIST_ORDERS_SORT_NEWEST_FIRST,
    LIST_ORDERS_SORT_OLDEST_FIRST,
    ListOrdersRequest,
    ListOrdersResponse,
)

from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import wait_for
from trackops_common.database import Database
from trackops_common.testing import ErrorDetails, error_details
from trackops_order.testing import OrderServer, OrderServices, create_request

NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture
def customer() -> str:
    return f"customer-{uuid.uuid4()}"


def _place(service: OrderServer, customer: str, count: int) -> list[order_pb2.Order]:
    """Orders of the customer, oldest first."""
    return [
        service.orders.CreateOrder(create_request(customer_id=customer)).order for _ in range(count)
    ]


def _pages(service: OrderServer, request: ListOrdersRequest) -> list[ListOrdersResponse]:
    pages = [service.orders.ListOrders(request)]
    while pages[-1].next_page_token:
        following = ListOrdersRequest()
        following.CopyFrom(request)
        following.page_token = pages[-1].next_page_token
        pages.append(service.orders.ListOrders(following))
    return pages


def _listed(service: OrderServer, **request: Any) -> Sequence[order_pb2.Order]:
    pages = _pages(service, ListOrdersRequest(**request))
    return [order for page in pages for order in page.orders]


def _refusal(service: OrderServer, request: ListOrdersRequest) -> ErrorDetails:
    with pytest.raises(grpc.RpcError) as failed:
        service.orders.ListOrders(request)
    return error_details(failed.value)


def test_orders_are_listed_as_they_are_shown_newest_first(
    service: OrderServer, customer: str
) -> None:
    placed = _place(service, customer, 3)

    assert _listed(service, customer_id=customer) == placed[::-1]
    newest_first = LIST_ORDERS_SORT_NEWEST_FIRST
    assert _listed(service, customer_id=customer, sort=newest_first) == placed[::-1]


@pytest.mark.parametrize("page_size", [1, 2, 5, 1000])
def test_oldest_first_page_by_page(service: OrderServer, customer: str, page_size: int) -> None:
    placed = _place(service, customer, 5)

    request = ListOrdersRequest(
        customer_id=customer, sort=LIST_ORDERS_SORT_OLDEST_FIRST, page_size=page_size
    )
    pages = _pages(service, request)

    assert [order for page in pages for order in page.orders] == placed
    assert len(pages) == -(-5 // page_size)


def test_fifty_is_a_page(service: OrderServer, customer: str) -> None:
    _place(service, customer, 51)

    sizes = [len(page.orders) for page in _pages(service, ListOrdersRequest(customer_id=customer))]

    assert sizes == [50, 1]


def test_each_part_of_the_filter_narrows_the_listing(service: OrderServer, customer: str) -> None:
    small = service.orders.CreateOrder(create_request(customer_id=customer, lines=1)).order
    first, second = _place(service, customer, 2)
    service.sagas.ConfirmOrder(
        order_saga_service_pb2.ConfirmOrderRequest(
            request_id=str(uuid.uuid4()), order_id=first.order_id
        )
    )

    def ids(**more: Any) -> list[str]:
        return [order.order_id for order in _listed(service, customer_id=customer, **more)]

    assert ids(sku="SKU-3") == [second.order_id, first.order_id]
    assert ids(states=[order_pb2.ORDER_STATE_CONFIRMED]) == [first.order_id]
    assert ids(create_time_from=first.create_time) == [second.order_id, first.order_id]
    assert ids(create_time_before=first.create_time) == [small.order_id]
    assert small.order_id in [order.order_id for order in _listed(service, sku="SKU-1")]
    assert _listed(service, sku="SKU-UNKNOWN") == []


def test_an_altered_token_is_refused(service: OrderServer, customer: str) -> None:
    _place(service, customer, 2)
    request = ListOrdersRequest(customer_id=customer, page_size=1)
    token = service.orders.ListOrders(request).next_page_token

    for altered in (token[:-1], token + "A", ("A" if token[0] != "A" else "B") + token[1:], "x"):
        request.page_token = altered
        details = _refusal(service, request)
        assert details.code is grpc.StatusCode.INVALID_ARGUMENT
        assert details.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    "other",
    [
        ListOrdersRequest(customer_id="somebody-else"),
        ListOrdersRequest(sku="SKU-1"),
        ListOrdersRequest(states=[order_pb2.ORDER_STATE_PENDING]),
        ListOrdersRequest(create_time_from=Timestamp(seconds=1)),
        ListOrdersRequest(create_time_before=Timestamp(seconds=2**32)),
        ListOrdersRequest(sort=LIST_ORDERS_SORT_OLDEST_FIRST),
    ],
    ids=repr,
)
def test_a_token_is_good_for_its_own_filter_and_sort_only(
    service: OrderServer, customer: str, other: ListOrdersRequest
) -> None:
    _place(service, customer, 2)
    request = ListOrdersRequest(customer_id=customer, page_size=1)
    token = service.orders.ListOrders(request).next_page_token

    request.MergeFrom(other)
    request.page_token = token

    assert _refusal(service, request).reason == "PAGE_TOKEN_INVALID"


def test_the_page_size_may_change_between_pages(service: OrderServer, customer: str) -> None:
    placed = _place(service, customer, 4)
    request = ListOrdersRequest(customer_id=customer, page_size=1)

    request.page_token = service.orders.ListOrders(request).next_page_token
    request.page_size = 3

    page = service.orders.ListOrders(request)
    assert (list(page.orders), page.next_page_token) == (placed[2::-1], "")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (ListOrdersRequest(page_size=1001), "page_size"),
        (ListOrdersRequest(page_size=-1), "page_size"),
        (ListOrdersRequest(states=[order_pb2.ORDER_STATE_UNSPECIFIED]), "states[0]"),
        (ListOrdersRequest(customer_id="no customer"), "customer_id"),
        (ListOrdersRequest(sku="no sku"), "sku"),
        (ListOrdersRequest(create_time_from=Timestamp(seconds=-1)), "create_time_from"),
        (ListOrdersRequest(create_time_before=Timestamp(seconds=2**40)), "create_time_before"),
        (ListOrdersRequest(page_token="A" * 257), "page_token"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_request_that_breaks_the_contract_is_refused(
    service: OrderServer, request_: ListOrdersRequest, field: str
) -> None:
    details = _refusal(service, request_)

    assert details.code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.reason == "INVALID_REQUEST"
    assert list(details.violations) == [field]


def test_a_time_with_too_many_nanoseconds_is_one_too(service: OrderServer, customer: str) -> None:
    placed = _place(service, customer, 1)
    longest = Timestamp(seconds=2**33, nanos=2**31 - 1)

    assert _listed(service, customer_id=customer, create_time_before=longest) == placed
    assert _listed(service, customer_id=customer, create_time_from=longest) == []


def test_a_replica_goes_on_where_another_ended(
    services: OrderServices, database: FreshDatabase, customer: str
) -> None:
    one, other = (services.serve(database.url("trackops_order"), NO_REDIS) for _ in range(2))
    placed = _place(one, customer, 2)
    request = ListOrdersRequest(page_size=1)

    request.page_token = one.orders.ListOrders(request).next_page_token

    assert list(other.orders.ListOrders(request).orders) == placed[:1]


def test_listings_that_wait_leave_threads_to_other_calls(
    service: OrderServer, service_rows: Database, customer: str
) -> None:
    with service_rows.transaction() as holder:
        holder.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        listings = [service.orders.ListOrders.future(ListOrdersRequest()) for _ in range(20)]
        wait_for(
            lambda: service_rows.fetch("SELECT FROM pg_locks WHERE NOT granted"),
            what="a listing at the lock",
        )
        waiting = service_rows.fetch("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0]

    assert waiting <= 2
    assert all(listing.result(timeout=30) for listing in listings)
