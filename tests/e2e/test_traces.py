"""One trace from the first call to the last event of an order, as a collector gets it."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from trackops.inventory.v1 import inventory_service_pb2
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from trackops.order.v1 import order_pb2, order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_cli.testing import Mesh, temporary_stack, wait_for
from trackops_common.database import Database
from trackops_common.testing_tokens import authorized_channel
from trackops_common.testing_traces import Collector, TakenSpan, as_tree, collecting

_ORDER = "trackops_order"
_INVENTORY = "trackops_inventory"
_PAYMENT = "trackops_payment"
_CREATE = "trackops.order.v1.OrderService/CreateOrder"
_RESERVE = "trackops.inventory.v1.InventoryService/BatchReserveStock"
_AUTHORIZE = "trackops.payment.v1.PaymentService/BatchAuthorizePayments"
_CONFIRM = "trackops.order.v1.OrderSagaService/BatchConfirmOrders"
_RELEASE = "trackops.inventory.v1.InventoryService/BatchReleaseStock"
_CLOSE = "trackops.order.v1.OrderSagaService/BatchCloseOrders"


@dataclass(frozen=True)
class TracedMesh:
    """The whole mesh, all of whose processes send their spans to `collector`."""

    mesh: Mesh
    collector: Collector

    def create(self, token: str) -> OrderTrace:
        """An order in a trace of its own."""
        trace_id = secrets.token_hex(16)
        caller = f"00-{trace_id}-{secrets.token_hex(8)}-01"
        request = order_service_pb2.CreateOrderRequest(
            request_id=str(uuid.uuid4()),
            customer_id="c-1",
            currency_code="EUR",
            lines=[order_pb2.OrderLine(sku="TRACED", quantity=1, unit_price_minor=100)],
            payment_method_token=token,
        )
        with authorized_channel(self.mesh.target("order"), self.mesh.token) as channel:
            create = OrderServiceStub(channel).CreateOrder
            order = create(request, timeout=20, metadata=(("traceparent", caller),)).order
        return OrderTrace(self, order.order_id, trace_id, caller)

    def events(self, schema: str, order_id: str) -> dict[str, str]:
        """The traces of an order's events in a schema's outbox, by the name of their message."""
        database = Database(self.mesh.database_url(schema), application_name="test")
        try:
            rows = database.fetch(
                "SELECT type, traceparent FROM outbox WHERE key = %(key)s", {"key": order_id}
            )
        finally:
            database.close()
        return {row[0].rpartition(".")[2]: row[1] for row in rows}


@dataclass(frozen=True)
class OrderTrace:
    """What is known of one order's trace."""

    world: TracedMesh
    order_id: str
    trace_id: str
    caller: str

    @property
    def spans(self) -> Sequence[TakenSpan]:
        return [one for one in self.world.collector.spans if one.trace_id == self.trace_id]

    def one(self, name: str, *, under: TakenSpan | None = None, service: str = "") -> TakenSpan:
        """The only span of this name, as soon as the collector has it."""

        def found() -> Sequence[TakenSpan]:
            return [
                span
                for span in self.spans
                if span.name == name
                and service in ("", span.service)
                and (under is None or span.under(under))
            ]

        try:
            wait_for(found, what=f"span {name}")
        except TimeoutError as error:
            raise AssertionError(f"{error}; there are\n{as_tree(self.spans)}") from None
        (only,) = found()
        return only

    def published(self, topic: str, cause: TakenSpan) -> TakenSpan:
        """The relay's span that has a link to `cause`, whatever trace it stands in."""

        def found() -> Sequence[TakenSpan]:
            every = self.world.collector.spans
            return [one for one in every if one.name == f"send {topic}" and one.linked_to(cause)]

        wait_for(found, what=f"what published the events of {cause.name}")
        (only,) = found()
        assert (only.service, only.kind) == ("trackops_outbox_relay", "CLIENT")
        return only

    def step(self, name: str, start: TakenSpan, call: str, service: str) -> TakenSpan:
        """The span of a saga's step, under which the whole call to its participant stands."""
        step = self.one(name, under=start, service="trackops_saga_orchestrator")
        inside = [one for one in self.spans if one.under(step) and one.linked_to(step)]
        (batch,) = [one for one in inside if one.name.startswith("batch ")]
        client = self.one(call, under=batch)
        assert (client.kind, client.service) == ("CLIENT", "trackops_saga_orchestrator")
        server = self.one(call, under=client)
        assert (server.kind, server.service) == ("SERVER", service)
        (work,) = [one for one in self.spans if one.under(server)]
        assert work.linked_to(server)
        assert any(one.under(work) for one in self.spans if one.name == f"TRANSACTION {service}")
        return step

    def placed(self) -> TakenSpan:
        """The span of the call, with all that it did before it answered."""
        create = self.one(_CREATE)
        assert create.parent_id == self.caller.split("-")[2]
        assert (create.service, create.kind) == (_ORDER, "SERVER")
        batch = self.one("batch CreateOrders", under=create)
        assert batch.linked_to(create)
        transaction = self.one(f"TRANSACTION {_ORDER}", under=batch)
        assert transaction.attributes["db.system.name"] == "postgresql"
        assert self.one("EVALSHA", under=batch).attributes["db.system.name"] == "redis"
        return create

    def started(self, create: TakenSpan) -> TakenSpan:
        """The begin of the saga, in the batch of messages that one linked to."""
        start = self.one("start place-order", under=create)
        assert start.attributes["trackops.saga.subject"] == self.order_id

        def processed() -> Sequence[TakenSpan]:
            every = self.world.collector.spans
            here = [one for one in every if start.linked_to(one)]
            return [one for one in every if any(inner.under(one) for inner in here)]

        wait_for(processed, what="the span of the messages that the saga began with")
        (process,) = processed()
        assert (process.service, process.kind) == ("trackops_saga_orchestrator", "CONSUMER")
        assert process.linked_to(create)
        assert process.attributes["messaging.destination.name"] == "trackops.order.events.v1"
        return start


def traceparent(span: TakenSpan) -> str:
    return f"00-{span.trace_id}-{span.span_id}-01"


@pytest.fixture(scope="module")
def traced() -> Iterator[TracedMesh]:
    with collecting() as collector, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with temporary_stack() as stack:
            stack.up()
            mesh = Mesh(stack)
            with authorized_channel(mesh.target("inventory"), mesh.token) as channel:
                InventoryServiceStub(channel).AdjustStock(
                    inventory_service_pb2.AdjustStockRequest(
                        request_id=str(uuid.uuid4()), sku="TRACED", delta=100
                    ),
                    timeout=20,
                )
            yield TracedMesh(mesh, collector)
            stack.stop()


def test_a_confirmed_order_is_one_trace_to_its_last_event(traced: TracedMesh) -> None:
    order = traced.create("tok_ok")
    create = order.placed()
    start = order.started(create)
    confirm = order.one("confirm-order", under=start)
    order.published("trackops.order.events.v1", confirm)

    reserve = order.step("reserve-stock", start, _RESERVE, _INVENTORY)
    authorize = order.step("authorize-payment", start, _AUTHORIZE, _PAYMENT)
    assert confirm == order.step("confirm-order", start, _CONFIRM, _ORDER)

    assert traced.events(_ORDER, order.order_id) == {
        "OrderPlaced": traceparent(create),
        "OrderConfirmed": traceparent(confirm),
    }
    assert traced.events(_INVENTORY, order.order_id) == {"StockReserved": traceparent(reserve)}
    assert traced.events(_PAYMENT, order.order_id) == {"PaymentAuthorized": traceparent(authorize)}
    order.published("trackops.order.events.v1", create)
    order.published("trackops.inventory.events.v1", reserve)
    order.published("trackops.payment.events.v1", authorize)
    assert not any(span.failed for span in order.spans)


def test_a_compensated_order_is_one_trace_too(traced: TracedMesh) -> None:
    order = traced.create("tok_declined")
    start = order.started(order.placed())
    close = order.one("on-failure", under=start)
    order.published("trackops.order.events.v1", close)

    reserve = order.step("reserve-stock", start, _RESERVE, _INVENTORY)
    order.step("authorize-payment", start, _AUTHORIZE, _PAYMENT)
    release = order.step("compensate reserve-stock", start, _RELEASE, _INVENTORY)
    assert close == order.step("on-failure", start, _CLOSE, _ORDER)

    assert traced.events(_ORDER, order.order_id)["OrderRejected"] == traceparent(close)
    assert traced.events(_INVENTORY, order.order_id) == {
        "StockReserved": traceparent(reserve),
        "StockReleased": traceparent(release),
    }
    order.published("trackops.inventory.events.v1", release)
