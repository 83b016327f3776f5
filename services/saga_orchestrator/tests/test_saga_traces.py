"""The trace of what started a saga, on each of its commands."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from typing import Any, cast

import pytest
from trackops.order.v1 import order_events_pb2, order_pb2

from trackops_common.database import Transaction
from trackops_common.envelope import Attributes
from trackops_common.grpc.channels import open_channel
from trackops_common.inbox import Message
from trackops_common.testing_traces import recording
from trackops_saga_orchestrator.adapters.participants import grpc_participants
from trackops_saga_orchestrator.application.start_sagas import StartedSaga, StartSagas
from trackops_saga_orchestrator.domain.commands import Phase, StepCommand
from trackops_saga_orchestrator.domain.participants import inventory
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER, OrderToPlace
from trackops_saga_orchestrator.entrypoints.order_events import OrderEvents

from .engine_mesh import Mesh
from .participant_server import Participant, serving
from .saga_fakes import START

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-0bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"
RELEASE = "trackops.inventory.v1.InventoryService/BatchReleaseStock"


@pytest.fixture
def participant() -> Participant:
    return Participant()


@pytest.fixture
async def target(participant: Participant) -> AsyncIterator[str]:
    async with serving(participant) as address:
        yield address


def command(number: int, traceparent: str, phase: Phase = Phase.COMPENSATION) -> StepCommand:
    return StepCommand(
        saga_id=uuid.UUID(int=number),
        subject=str(uuid.UUID(int=number)),
        input=OrderToPlace([], 0, "EUR", "tok").to_input(),
        step="reserve-stock",
        phase=phase,
        action=inventory.release,
        deadline_seconds=5,
        failure=None,
        traceparent=traceparent,
    )


async def release(target: str, *commands: StepCommand) -> None:
    async with open_channel(target) as channel:
        participants = grpc_participants(
            inventory_channel=channel, payment_channel=channel, order_channel=channel
        )
        await participants[inventory.release](commands)


def carried(participant: Participant) -> Sequence[str]:
    return [one.traceparent for one in participant.requests[0].requests]


async def test_each_command_of_a_batch_carries_the_trace_of_its_saga(
    target: str, participant: Participant
) -> None:
    await release(target, command(1, TRACE), command(2, ""), command(3, OTHER))
    assert carried(participant) == [TRACE, "", OTHER]


async def test_each_recorded_step_has_a_span_and_the_call_stands_under_one_of_them(
    target: str, participant: Participant
) -> None:
    unsampled = f"{TRACE[:-2]}00"
    with recording() as spans:
        await release(
            target, command(1, TRACE), command(2, unsampled), command(3, OTHER, Phase.ACTION)
        )
    first, third = spans.one("compensate reserve-stock"), spans.one("reserve-stock")
    assert (first.parent, third.parent) == (TRACE, OTHER)
    assert first.attributes["trackops.saga.id"] == str(uuid.UUID(int=1))
    assert carried(participant) == [first.traceparent, unsampled, third.traceparent]
    batch, client = spans.one("batch inventory.release"), spans.one(RELEASE)
    assert batch.parent == first.traceparent
    assert batch.links == [first.traceparent, third.traceparent]
    assert third.links == [batch.traceparent]
    assert client.parent == batch.traceparent
    assert first.end >= client.end > 0


def placed(traceparent: str) -> Message:
    order = order_pb2.Order(order_id="o", currency_code="EUR", total_minor=1)
    event = order_events_pb2.OrderPlaced(order=order)
    attributes = Attributes(
        id="event-1",
        type=event.DESCRIPTOR.full_name,
        source="/trackops/trackops_order",
        subject="o",
        time=START,
        outboxseq=1,
        aggregateversion=1,
        traceparent=traceparent,
    )
    return Message("topic", 0, 0, "o", event.SerializeToString(), attributes)


def handle(message: Message) -> tuple[Mesh, Sequence[StartedSaga]]:
    mesh, started = Mesh(PLACE_ORDER), []

    def hand_over(sagas: Sequence[StartedSaga]) -> Future[None]:
        started.extend(sagas)
        return Future()

    start = StartSagas(mesh.clock, 10)
    handler = OrderEvents(mesh.definitions, start, lambda _: mesh.store, hand_over)
    handled = handler(cast("Transaction", None), [message])
    assert handled.after_commit is not None
    handled.after_commit()
    return mesh, started


def traces_of(mesh: Mesh, started: Sequence[StartedSaga]) -> set[Any]:
    """Of the row and of the first commands."""
    rows = {row.snapshot.traceparent for row in mesh.store.rows.values()}
    return rows | {one.traceparent for saga in started for one in saga.commands}


@pytest.mark.parametrize("traceparent", [TRACE, ""])
def test_a_saga_remembers_the_trace_of_the_event_that_started_it(traceparent: str) -> None:
    assert traces_of(*handle(placed(traceparent))) == {traceparent}


def test_the_steps_of_a_recorded_saga_stand_under_its_begin() -> None:
    with recording() as spans:
        traces = traces_of(*handle(placed(TRACE)))
    start = spans.one("start place-order")
    assert start.parent == TRACE
    assert start.attributes["trackops.saga.subject"] == "o"
    assert traces == {start.traceparent}
