"""What sagas ask of the order service. Closing undoes nothing: it ends what was not confirmed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from trackops.order.v1 import order_pb2, order_saga_service_pb2, order_service_pb2

from .moves import Move, Pair
from .participant import Participant, Rpc

__all__ = ["CLOSE", "CONFIRM", "CONFIRM_CLOSE", "MOVES"]

_ORDERS = order_service_pb2.DESCRIPTOR.services_by_name["OrderService"]
_SAGAS = order_saga_service_pb2.DESCRIPTOR.services_by_name["OrderSagaService"]
_MODULE = "trackops_order"


def _placed(participant: Participant, number: int) -> Sequence[str]:
    requests = [
        order_service_pb2.CreateOrderRequest(
            request_id=str(uuid.uuid4()),
            customer_id="customer-1",
            currency_code="EUR",
            lines=[order_pb2.OrderLine(sku="TEA-1", quantity=1, unit_price_minor=100)],
            payment_method_token="tok_ok",
        )
        for _ in range(number)
    ]
    batch = order_service_pb2.BatchCreateOrdersRequest(requests=requests)
    created = participant.call(_ORDERS, "BatchCreateOrders", batch)
    return [result.response.order.order_id for result in created.results]


def _being_cancelled(participant: Participant) -> tuple[str, str]:
    (order_id,) = _placed(participant, 1)
    request = order_service_pb2.CancelOrderRequest(request_id=str(uuid.uuid4()), order_id=order_id)
    participant.call(_ORDERS, "CancelOrder", request)
    return order_id, "FORBIDDEN_TRANSITION"


def _entered(state: order_pb2.OrderState.ValueType) -> Callable[[Participant, str], int]:
    """How often an order entered a state, by its timeline."""

    def times(participant: Participant, order_id: str) -> int:
        request = order_service_pb2.GetOrderTimelineRequest(order_id=order_id)
        entries = participant.call(_ORDERS, "GetOrderTimeline", request).entries
        return sum(entry.state == state for entry in entries)

    return times


def _confirm(order_id: str, request_id: str) -> order_saga_service_pb2.ConfirmOrderRequest:
    return order_saga_service_pb2.ConfirmOrderRequest(request_id=request_id, order_id=order_id)


def _close(order_id: str, request_id: str) -> order_saga_service_pb2.CloseOrderRequest:
    return order_saga_service_pb2.CloseOrderRequest(
        request_id=request_id, order_id=order_id, reason="PAYMENT_DECLINED"
    )


CONFIRM = Move(
    "confirm",
    _MODULE,
    Rpc(_SAGAS, "ConfirmOrder", "BatchConfirmOrders"),
    _confirm,
    _placed,
    "OrderConfirmed",
    _entered(order_pb2.OrderState.ORDER_STATE_CONFIRMED),
)
CLOSE = Move(
    "close",
    _MODULE,
    Rpc(_SAGAS, "CloseOrder", "BatchCloseOrders"),
    _close,
    _placed,
    "OrderRejected",
    _entered(order_pb2.OrderState.ORDER_STATE_REJECTED),
)
MOVES = (CONFIRM, CLOSE)

CONFIRM_CLOSE = Pair(CONFIRM, CLOSE, "FORBIDDEN_TRANSITION", _being_cancelled, undoes=False)
