"""Whatever is asked of the running service, it answers and remembers as its rules say.

Each request goes to the use cases over a store in memory, and over gRPC to the service on its
database. What they answer must be the same, and afterwards the order and its timeline.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2
from hypothesis import Phase, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from trackops.order.v1 import order_pb2, order_saga_service_pb2, order_service_pb2

from trackops_common.auth import Caller, Principal, enter_call
from trackops_common.grpc.failures import describe
from trackops_common.testing import ErrorDetails, ManualClock, error_details
from trackops_order.adapters.encoding import (
    encode_changed,
    encode_created,
    encode_timeline,
    order_message,
)
from trackops_order.application.cancel_orders import CancelOrders
from trackops_order.application.change_orders import ChangeOrders
from trackops_order.application.close_orders import CloseOrders
from trackops_order.application.confirm_orders import ConfirmOrders
from trackops_order.application.create_orders import CreateOrders
from trackops_order.application.deliver_orders import DeliverOrders
from trackops_order.application.return_orders import ReturnOrders
from trackops_order.application.ship_orders import ShipOrders
from trackops_order.application.update_order_statuses import UpdateOrderStatuses
from trackops_order.domain.states import TRANSITIONS, OrderState
from trackops_order.entrypoints import converters
from trackops_order.entrypoints.errors import order_failure
from trackops_order.testing import (
    InMemoryOrderCache,
    InMemoryOrderFeed,
    InMemoryOrders,
    OrderServer,
)

CALLER = Principal("somebody")
QUANTITIES = [1, 2, 3]
EXAMPLES = 25
STEPS = 14

QUANTITY = some.sampled_from([1, 1, 2, 3, 4])
PIECES = some.dictionaries(
    some.sampled_from(["SKU-1", "SKU-2", "SKU-3", "SKU-3"]), QUANTITY, min_size=1, max_size=3
)
ETAG = some.sampled_from(["", "", "", "current", "stale"])
REASON = some.sampled_from(["", "too slow", "Caf\u00e9"])
TARGETS = some.sampled_from(
    [state for state in order_pb2.OrderState.values() if state]
    + [order_pb2.ORDER_STATE_SHIPPED, order_pb2.ORDER_STATE_DELIVERED] * 4
)
TIMES = {"create_time", "update_time", "enter_time"}


@dataclass(frozen=True)
class Rpc:
    """One RPC: how the service is called, and how the store in memory is."""

    call: Callable[[Any], Message]
    use_case: Callable[[Sequence[Any]], Sequence[Any]]
    to_command: Callable[[Any, Principal], Any]
    response: type[Any]


@dataclass(frozen=True)
class Asked:
    """What was asked once; it may be asked again."""

    rpc: Rpc
    request: Any


class Conversation(RuleBasedStateMachine):
    """One order, and everything that can be said about it."""

    def __init__(self, service: OrderServer) -> None:
        super().__init__()
        enter_call(Caller(CALLER))  # for the model, whose use cases are asked without a server
        self.service = service
        self.model = InMemoryOrders()
        self.rpcs = _rpcs(service, self.model)
        self.asked: list[Asked] = []
        self.order_id = ""

    @initialize(
        prices=some.tuples(*[some.integers(0, 10**12)] * len(QUANTITIES)), way=some.integers(0, 5)
    )
    def create(self, prices: Sequence[int], way: int) -> None:
        """A new order; then some way on, since by chance few orders would come far."""
        request = order_service_pb2.CreateOrderRequest(
            customer_id="stateful",
            currency_code="EUR",
            payment_method_token="tok_ok",
            lines=[
                order_pb2.OrderLine(sku=f"SKU-{number}", quantity=number, unit_price_minor=price)
                for number, price in zip(QUANTITIES, prices, strict=True)
            ],
            metadata={"b": "2", "a": "1"},
            note="ring twice",
        )
        answer = self._ask("CreateOrder", request)
        self.order_id = answer.order.order_id
        steps: Sequence[Callable[[], None]] = [
            self._confirm,
            lambda: self._ship({"SKU-3": 2}),
            lambda: self._ship({"SKU-1": 1, "SKU-2": 2, "SKU-3": 1}),
            self._deliver,
            lambda: self._take_back({"SKU-1": 1, "SKU-2": 2, "SKU-3": 1}),
        ]
        for step in steps[:way]:
            step()

    @rule()
    def confirm(self) -> None:
        self._confirm()

    def _confirm(self) -> None:
        self._change("ConfirmOrder", order_saga_service_pb2.ConfirmOrderRequest())

    @rule()
    def close(self) -> None:
        self._change("CloseOrder", order_saga_service_pb2.CloseOrderRequest(reason="NO_TEA"))

    @rule(reason=REASON, etag=ETAG)
    def cancel(self, reason: str, etag: str) -> None:
        self._change("CancelOrder", order_service_pb2.CancelOrderRequest(reason=reason), etag)

    @rule(pieces=PIECES, etag=ETAG)
    def ship(self, pieces: dict[str, int], etag: str) -> None:
        self._ship(pieces, etag)

    def _ship(self, pieces: dict[str, int], etag: str = "") -> None:
        request = order_service_pb2.ShipOrderRequest(
            lines=_pieces(pieces), carrier="UPS", tracking_number="1Z"
        )
        self._change("ShipOrder", request, etag)

    @rule(etag=ETAG)
    def deliver(self, etag: str) -> None:
        self._deliver(etag)

    def _deliver(self, etag: str = "") -> None:
        self._change("DeliverOrder", order_service_pb2.DeliverOrderRequest(), etag)

    @rule(pieces=PIECES, etag=ETAG)
    def take_back(self, pieces: dict[str, int], etag: str) -> None:
        self._take_back(pieces, etag)

    def _take_back(self, pieces: dict[str, int], etag: str = "") -> None:
        request = order_service_pb2.ReturnOrderRequest(lines=_pieces(pieces), reason="broken")
        self._change("ReturnOrder", request, etag)

    @rule(state=TARGETS, etag=ETAG)
    def update_status(self, state: order_pb2.OrderState.ValueType, etag: str) -> None:
        request = order_service_pb2.UpdateOrderStatusRequest(state=state, reason="as agreed")
        self._change("UpdateOrderStatus", request, etag)

    @rule(which=some.integers(0, 100))
    def repeat(self, which: int) -> None:
        again = self.asked[which % len(self.asked)]
        self._compare(again.rpc, again.request)

    @rule(which=some.integers(0, 100))
    def use_a_request_id_for_something_else(self, which: int) -> None:
        known = self.asked[which % len(self.asked)]
        request = type(known.request)()
        request.CopyFrom(known.request)
        if isinstance(request, order_service_pb2.CreateOrderRequest):
            request.note = "ring once"
        else:
            request.order_id = str(uuid.uuid4())
        self._compare(known.rpc, request)

    def _change(self, rpc: str, request: Any, etag: str = "") -> None:
        request.order_id = self.order_id
        if etag:
            request.etag = self._shown().etag if etag == "current" else "v0"
        self._ask(rpc, request)

    def _ask(self, rpc: str, request: Any) -> Any:
        request.request_id = str(uuid.uuid4())
        self.asked.append(Asked(self.rpcs[rpc], request))
        return self._compare(self.rpcs[rpc], request)

    def _compare(self, rpc: Rpc, request: Any) -> Any:
        """What both say to it, which is the same."""
        (expected,) = rpc.use_case([rpc.to_command(request, CALLER)])
        try:
            answer = rpc.call(request)
        except grpc.RpcError as refused:
            assert isinstance(expected, Exception), (expected, error_details(refused))
            assert error_details(refused) == _details(expected)
            return None
        assert isinstance(expected, bytes), expected
        assert _timeless(answer) == _timeless(rpc.response.FromString(expected))
        return answer

    def _shown(self) -> order_pb2.Order:
        request = order_service_pb2.GetOrderRequest(order_id=self.order_id)
        return self.service.orders.GetOrder(request).order

    @invariant()
    def the_order_and_its_timeline_are_those_in_memory(self) -> None:
        shown, order_id = self._shown(), uuid.UUID(self.order_id)
        timeline = self.service.orders.GetOrderTimeline(
            order_service_pb2.GetOrderTimelineRequest(order_id=self.order_id)
        )
        _check_times(shown, timeline.entries)
        _check_history([entry.state for entry in timeline.entries], shown)
        _check_goods(shown)

        expected = self.model.get([order_id])[order_id]
        entries = order_service_pb2.GetOrderTimelineResponse.FromString(
            encode_timeline(self.model.timelines([order_id])[order_id])
        )
        assert _timeless(shown) == _timeless(order_message(expected))
        assert _timeless(timeline) == _timeless(entries)


def _rpcs(service: OrderServer, model: InMemoryOrders) -> dict[str, Rpc]:
    clock = ManualClock()
    cache = InMemoryOrderCache()
    change = ChangeOrders(model, cache, InMemoryOrderFeed(), encode_changed, clock)
    orders, sagas, pb, saga_pb = (
        service.orders,
        service.sagas,
        order_service_pb2,
        order_saga_service_pb2,
    )
    c = converters
    return {
        "CreateOrder": Rpc(
            orders.CreateOrder,
            CreateOrders(model, cache, encode_created, clock),
            c.create_command,
            pb.CreateOrderResponse,
        ),
        "ConfirmOrder": Rpc(
            sagas.ConfirmOrder,
            ConfirmOrders(change),
            c.confirm_command,
            saga_pb.ConfirmOrderResponse,
        ),
        "CloseOrder": Rpc(
            sagas.CloseOrder, CloseOrders(change), c.close_command, saga_pb.CloseOrderResponse
        ),
        "CancelOrder": Rpc(
            orders.CancelOrder, CancelOrders(change), c.cancel_command, pb.CancelOrderResponse
        ),
        "ShipOrder": Rpc(
            orders.ShipOrder, ShipOrders(change), c.ship_command, pb.ShipOrderResponse
        ),
        "DeliverOrder": Rpc(
            orders.DeliverOrder, DeliverOrders(change), c.deliver_command, pb.DeliverOrderResponse
        ),
        "ReturnOrder": Rpc(
            orders.ReturnOrder, ReturnOrders(change), c.return_command, pb.ReturnOrderResponse
        ),
        "UpdateOrderStatus": Rpc(
            orders.UpdateOrderStatus,
            UpdateOrderStatuses(change),
            c.update_status_command,
            pb.UpdateOrderStatusResponse,
        ),
    }


def _pieces(pieces: dict[str, int]) -> list[order_pb2.Pieces]:
    return [order_pb2.Pieces(sku=sku, quantity=quantity) for sku, quantity in pieces.items()]


def _details(error: Exception) -> ErrorDetails:
    status: status_pb2.Status = describe(error, order_failure).to_status()
    return ErrorDetails.of_status(status)


def _timeless(message: Any) -> Any:
    """A copy without times, in which the two clocks differ, and with shipments sorted."""
    copy = type(message)()
    copy.CopyFrom(message)
    for field, value in copy.ListFields():
        if field.name in TIMES:
            copy.ClearField(field.name)
        elif isinstance(value, order_pb2.Shipment):
            lines = sorted(value.lines, key=lambda line: line.sku)
            del value.lines[:]
            value.lines.extend(lines)
        elif field.message_type and not field.message_type.GetOptions().map_entry:
            _strip(copy, field.name, value, is_list=field.is_repeated)
    return copy


def _strip(message: Any, name: str, value: Any, *, is_list: bool) -> None:
    if is_list:
        stripped = [_timeless(one) for one in value]
        message.ClearField(name)
        getattr(message, name).extend(stripped)
    else:
        value.CopyFrom(_timeless(value))


def _check_times(
    shown: order_pb2.Order, entries: Sequence[order_service_pb2.TimelineEntry]
) -> None:
    moments = [_nanoseconds(entry.enter_time) for entry in entries]
    assert moments == sorted(moments)
    assert moments[0] == _nanoseconds(shown.create_time)
    assert moments[-1] == _nanoseconds(shown.update_time)


def _nanoseconds(moment: Timestamp) -> int:
    return moment.ToNanoseconds()


def _check_history(
    states: Sequence[order_pb2.OrderState.ValueType], shown: order_pb2.Order
) -> None:
    assert (len(states), states[-1]) == (shown.version, shown.state)
    names = [OrderState(order_pb2.OrderState.Name(state)[12:]) for state in states]
    assert names[0] is OrderState.PENDING
    for frm, to in pairwise(names):
        assert to in TRANSITIONS[frm]


def _check_goods(shown: order_pb2.Order) -> None:
    lines = shown.lines
    assert [line.quantity for line in lines] == QUANTITIES
    for line in lines:
        assert 0 <= line.returned_quantity <= line.shipped_quantity <= line.quantity
    assert shown.total_minor == sum(line.quantity * line.unit_price_minor for line in lines)
    assert shown.refunded_minor == sum(
        line.returned_quantity * line.unit_price_minor for line in lines
    )


def test_the_service_and_its_rules_agree_whatever_is_asked(service: OrderServer) -> None:
    class WithTheService(Conversation):
        def __init__(self) -> None:
            super().__init__(service)

    run_state_machine_as_test(
        WithTheService,
        settings=settings(
            deadline=None,
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            phases=[Phase.reuse, Phase.generate],  # to shrink a failure would take minutes
        ),
    )
