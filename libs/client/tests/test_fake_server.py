from __future__ import annotations

import grpc
from trackops.order.v1.order_pb2 import Order
from trackops.order.v1.order_service_pb2 import GetOrderRequest, GetOrderResponse
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_client.testing import FakeServer


def test_a_response_is_the_next_answer_and_then_empty(server: FakeServer) -> None:
    made = GetOrderResponse(order=Order(order_id="some"))
    server.answers = [lambda _: made]
    with grpc.insecure_channel(server.target) as channel:
        orders = OrderServiceStub(channel)
        responses = [orders.GetOrder(GetOrderRequest(order_id="some")) for _ in range(2)]

    assert responses == [made, GetOrderResponse()]
    assert [received.request.order_id for received in server.received] == ["some", "some"]
    assert [received.seconds_left for received in server.received] == [None, None]
