"""The sagas after place-order: what starts them, and every step's failure."""

from __future__ import annotations

from concurrent.futures import Future
from typing import cast

import pytest
from google.protobuf.message import Message
from trackops.order.v1 import order_events_pb2, order_pb2

from trackops_common import inbox
from trackops_common.database import Transaction
from trackops_common.envelope import Attributes
from trackops_saga_orchestrator.application.start_sagas import StartSagas
from trackops_saga_orchestrator.domain.cancel_order import CANCEL_ORDER
from trackops_saga_orchestrator.domain.definitions import DEFINITIONS
from trackops_saga_orchestrator.domain.fulfil_order import FULFIL_ORDER
from trackops_saga_orchestrator.domain.goods_moved import GoodsMoved
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import SagaState, StepState, Unknown
from trackops_saga_orchestrator.domain.return_order import RETURN_ORDER
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.settle_order import SETTLE_ORDER
from trackops_saga_orchestrator.domain.steps import Step, WaitFor
from trackops_saga_orchestrator.entrypoints.order_events import OrderEvents
from trackops_saga_orchestrator.entrypoints.triggers import triggered_by

from .engine_mesh import Mesh, refuse
from .saga_fakes import START

SHIPMENT = order_pb2.Shipment(
    shipment_id="ship-1", lines=[order_pb2.Pieces(sku="TEA-1", quantity=2)]
)
GOODS_RETURN = order_pb2.GoodsReturn(
    return_id="return-1",
    lines=[order_pb2.ReturnedLine(sku="TEA-1", quantity=1, refund_minor=300)],
    refund_minor=300,
)
LATER = [saga for saga in DEFINITIONS if saga is not PLACE_ORDER]
STEPS = [(saga, step.name) for saga in LATER for step in saga.steps]


def started(event: Message) -> tuple[Saga, str, str, object] | None:
    start = triggered_by(event.DESCRIPTOR.full_name, event.SerializeToString())
    return (start.definition, start.subject, start.occurrence, start.input) if start else None


def test_shipment_starts_fulfil_order_with_its_pieces_and_price() -> None:
    event = order_events_pb2.OrderShipped(order_id="o", shipment=SHIPMENT, amount_minor=600)
    given = GoodsMoved([("TEA-1", 2)], 600).to_input()
    assert started(event) == (FULFIL_ORDER, "o", "ship-1", given)


def test_return_starts_return_order_with_its_pieces_and_refund() -> None:
    event = order_events_pb2.OrderReturned(order_id="o", goods_return=GOODS_RETURN)
    given = GoodsMoved([("TEA-1", 1)], 300).to_input()
    assert started(event) == (RETURN_ORDER, "o", "return-1", given)


def test_order_closed_short_starts_settle_order() -> None:
    event = order_events_pb2.OrderClosedShort(order_id="o")
    assert started(event) == (SETTLE_ORDER, "o", "", {})


def test_cancelling_a_confirmed_order_starts_cancel_order() -> None:
    event = order_events_pb2.OrderCancellationRequested(
        order_id="o", from_state=order_pb2.ORDER_STATE_CONFIRMED
    )
    assert started(event) == (CANCEL_ORDER, "o", "", {})


@pytest.mark.parametrize(
    "event",
    [
        order_events_pb2.OrderCancellationRequested(
            order_id="o", from_state=order_pb2.ORDER_STATE_PENDING
        ),
        order_events_pb2.OrderConfirmed(order_id="o"),
        order_events_pb2.OrderCancelled(order_id="o"),
        order_events_pb2.OrderDelivered(order_id="o"),
    ],
    ids=lambda event: event.DESCRIPTOR.name,
)
def test_other_events_start_nothing(event: Message) -> None:
    assert started(event) is None


def test_place_orders_ids_are_what_they_were() -> None:
    assert str(PLACE_ORDER.saga_id("order-1")) == "63e68a09-c2a2-5d92-94ea-c29434041c4e"


def test_each_occurrence_has_a_saga_of_its_own() -> None:
    ids = {FULFIL_ORDER.saga_id("o", occurrence) for occurrence in ("", "1", "2")}
    assert len(ids) == 3


def mesh_with(*, price: int = 100) -> Mesh:
    mesh = Mesh(*DEFINITIONS)
    mesh.input = GoodsMoved([("TEA-1", 1)], price).to_input()
    return mesh


@pytest.mark.parametrize("definition", LATER, ids=lambda saga: saga.name)
async def test_all_goes_well(definition: Saga) -> None:
    mesh = mesh_with()
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a", definition=definition))
        await mesh.until_ended(engine)
    assert mesh.states() == {SagaState.COMPLETED}
    assert sorted(mesh.participants.effects) == sorted(
        (definition.saga_id("a"), step.name) for step in definition.steps
    )


async def test_order_is_closed_once_all_is_let_go() -> None:
    mesh = mesh_with()
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a", definition=CANCEL_ORDER))
        await mesh.until_ended(engine)
    sent = [command.step for call in mesh.participants.calls for command in call]
    assert (set(sent[:2]), sent[2:]) == ({"void-payment", "release-stock"}, ["close-order"])


async def test_refund_of_nothing_is_skipped() -> None:
    mesh = mesh_with(price=0)
    async with mesh.running() as engine:
        (one,) = mesh.start("a", definition=RETURN_ORDER)
        await engine.admit([one])
        await mesh.until_ended(engine)
    assert [step.state for step in one.saga.steps.values()] == [StepState.SKIPPED, StepState.DONE]
    assert mesh.states() == {SagaState.COMPLETED}
    assert not mesh.participants.commands("refund-payment")


@pytest.mark.parametrize(
    ("definition", "step"), STEPS, ids=lambda one: str(getattr(one, "name", one))
)
async def test_refused_step_calls_an_operator_once_the_others_are_done(
    definition: Saga, step: str
) -> None:
    mesh = mesh_with()
    mesh.participants = refuse(step)
    async with mesh.running() as engine:
        (one,) = mesh.start("a", definition=definition)
        await engine.admit([one])
        await engine.idle()
    assert mesh.states() == {SagaState.NEEDS_OPERATOR}
    assert one.saga.steps[step].state is StepState.REFUSED
    assert one.saga.steps[step].error == "no"


@pytest.mark.parametrize(
    ("definition", "step"), STEPS, ids=lambda one: str(getattr(one, "name", one))
)
async def test_silent_participant_is_asked_for_ever(definition: Saga, step: str) -> None:
    mesh = mesh_with()
    silences = iter([Unknown("away")] * 60)
    mesh.participants.answer = lambda command: (
        next(silences, None) if command.step == step else None
    )
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a", definition=definition))
        await mesh.until_ended(engine)
    assert mesh.states() == {SagaState.COMPLETED}
    assert len({one.request_id for one in mesh.participants.commands(step)}) == 1
    assert set(mesh.participants.effects.values()) == {1}


def message(event: Message) -> inbox.Message:
    attributes = Attributes(
        id="event-1",
        type=event.DESCRIPTOR.full_name,
        source="/trackops/trackops_order",
        subject="o",
        time=START,
        outboxseq=1,
        aggregateversion=1,
        traceparent="",
    )
    return inbox.Message("topic", 0, 0, "o", event.SerializeToString(), attributes)


def test_events_that_sagas_wait_for_are_remembered() -> None:
    delivered = order_events_pb2.OrderDelivered.DESCRIPTOR.full_name
    waiting = Saga("waiting", version=1, steps=[Step("w", WaitFor(delivered, timeout_seconds=60))])
    mesh = Mesh(waiting)
    handler = OrderEvents(
        mesh.definitions, StartSagas(mesh.clock, 10), lambda _: mesh.store, lambda _: Future()
    )
    transaction = cast("Transaction", None)
    handler(
        transaction,
        [
            message(order_events_pb2.OrderDelivered(order_id="o")),
            message(order_events_pb2.OrderConfirmed(order_id="o")),
        ],
    )
    assert set(mesh.store.events) == {("o", delivered)}
