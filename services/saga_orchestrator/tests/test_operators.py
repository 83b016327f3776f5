"""Operators' RPCs against the whole service."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2
from grpc_status import rpc_status
from trackops.order.v1 import order_events_pb2, order_pb2
from trackops.saga.v1 import saga_pb2, saga_service_pb2

from trackops_common.testing import error_details, eventually
from trackops_saga_orchestrator.domain.fulfil_order import FULFIL_ORDER
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER

from .participant_server import status
from .service_world import World, new_ids, serve

pb = saga_service_pb2
AWAY = status(code_pb2.ABORTED, "busy")
TOO_MUCH = status(code_pb2.FAILED_PRECONDITION, "too much", "AMOUNT_TOO_HIGH")


def shipped(order_id: str, shipment_id: str = "s1") -> order_events_pb2.OrderShipped:
    shipment = order_pb2.Shipment(
        shipment_id=shipment_id, lines=[order_pb2.Pieces(sku="TEA-1", quantity=1)]
    )
    return order_events_pb2.OrderShipped(order_id=order_id, shipment=shipment, amount_minor=1)


def about(order_id: str, **fields: Any) -> dict[str, Any]:
    """The fields that every operator's request has."""
    saga_id = str(PLACE_ORDER.saga_id(order_id))
    return {"request_id": str(uuid.uuid4()), "saga_id": saga_id, "reason": "because", **fields}


async def show(client: Any, saga_id: object) -> saga_pb2.Saga:
    answer = await client.GetSaga(pb.GetSagaRequest(saga_id=str(saga_id)))
    saga: saga_pb2.Saga = answer.saga
    return saga


def reason_of(error: grpc.aio.AioRpcError) -> str:
    found = rpc_status.from_call(error)
    assert found is not None
    return str(found.details[0])


async def test_pause_takes_a_saga_from_its_engine_and_resume_gives_it_back(world: World) -> None:
    (order_id,) = new_ids(1)
    world.participant.items = {order_id: AWAY}
    async with serve(world) as client:
        world.place(order_id)
        await eventually(lambda: world.participant.requests)
        request = pb.PauseSagaRequest(**about(order_id))
        paused = (await client.PauseSaga(request)).saga
        assert paused.state == saga_pb2.SAGA_STATE_PAUSED
        assert (await client.PauseSaga(request)).saga == paused
        world.participant.items = {}
        resumed = await client.ResumeSaga(pb.ResumeSagaRequest(**about(order_id)))
        assert resumed.saga.state == saga_pb2.SAGA_STATE_RUNNING
        await world.until_ended(1)
        saga = await show(client, PLACE_ORDER.saga_id(order_id))
    assert saga.state == saga_pb2.SAGA_STATE_COMPLETED
    assert [(one.operation, one.principal, one.reason) for one in saga.audit] == [
        ("pause", "somebody", "because"),
        ("resume", "somebody", "because"),
    ]
    assert saga.audit[0].state_before == saga_pb2.SAGA_STATE_RUNNING
    *failed, last = saga.steps[0].attempt_log
    assert [one.number for one in (*failed, last)] == list(range(1, len(failed) + 2))
    assert failed[0].error == "ABORTED: busy"
    assert (last.error, last.end_time) == ("", saga.steps[0].update_time)
    for one in saga.steps[0].attempt_log:
        assert one.end_time.ToDatetime() >= one.send_time.ToDatetime()


async def test_compensate_turns_back_while_an_engine_is_at_it(world: World) -> None:
    orders = new_ids(30)
    world.participant.items = dict.fromkeys(orders, AWAY)
    async with serve(world) as client:
        world.place(*orders)
        await eventually(lambda: len(world.states()) == 30)
        for order_id in orders:
            await client.CompensateSaga(pb.CompensateSagaRequest(**about(order_id)))
        world.participant.items = {}
        await world.until_ended(30)
        saga = await show(client, PLACE_ORDER.saga_id(orders[0]))
    assert set(world.states()) == {"COMPENSATED"}
    assert (saga.failure_reason, saga.failure_message) == ("COMPENSATED_BY_OPERATOR", "because")


async def test_stuck_sagas_are_retried_in_bulk_after_a_dry_run(world: World) -> None:
    orders = new_ids(3)
    world.participant.whole = lambda requests: (
        TOO_MUCH if hasattr(requests[0], "amount_minor") else None
    )
    async with serve(world) as client:
        for order_id in orders:
            world.tell(order_id, shipped(order_id))
        await eventually(lambda: world.states() == ["NEEDS_OPERATOR"] * 3)
        world.participant.whole = lambda _: None
        fields: dict[str, Any] = {
            "selection": pb.SagaSelection(definition="fulfil-order"),
            "request_id": str(uuid.uuid4()),
            "reason": "limits were raised",
        }
        dry = await client.RetrySteps(pb.RetryStepsRequest(**fields, dry_run=True))
        assert (dry.count, len(dry.sample_saga_ids), dry.more) == (3, 3, False)
        assert world.states() == ["NEEDS_OPERATOR"] * 3
        other = pb.SagaSelection(definition="return-order")
        none = await client.RetrySteps(
            pb.RetryStepsRequest(**{**fields, "selection": other}, dry_run=True)
        )
        assert none.count == 0
        done = await client.RetrySteps(pb.RetryStepsRequest(**fields))
        assert done.count == 3
        await world.until_ended(3)
        assert await client.RetrySteps(pb.RetryStepsRequest(**fields)) == done
        saga = await show(client, FULFIL_ORDER.saga_id(orders[0], "s1"))
    assert set(world.states()) == {"COMPLETED"}
    assert [one.operation for one in saga.audit] == ["retry"]


async def test_bulk_filters_by_reason_and_age(world: World) -> None:
    (order_id,) = new_ids(1)
    world.participant.items = {order_id: TOO_MUCH}
    async with serve(world) as client:
        world.place(order_id)
        await eventually(lambda: world.states() == ["NEEDS_OPERATOR"])

        async def count(**selection: Any) -> int:
            request = pb.RetryStepsRequest(
                request_id=str(uuid.uuid4()),
                reason="x",
                dry_run=True,
                selection=pb.SagaSelection(**selection),
            )
            found: int = (await client.RetrySteps(request)).count
            return found

        assert await count() == 1
        assert await count(failure_reason="AMOUNT_TOO_HIGH") == 1
        assert await count(failure_reason="NO") == 0
        assert await count(older_than_seconds=3600) == 0


async def test_sagas_are_held_and_turned_back_in_bulk(world: World) -> None:
    placed, (shipment,) = new_ids(3), new_ids(1)
    world.participant.whole = lambda _: AWAY
    async with serve(world) as client:
        world.place(*placed)
        world.tell(shipment, shipped(shipment))
        await eventually(lambda: world.states() == ["RUNNING"] * 4)

        def fields() -> dict[str, Any]:
            return {"request_id": str(uuid.uuid4()), "reason": "the stock is wrong"}

        dry = await client.CompensateSagas(pb.CompensateSagasRequest(**fields(), dry_run=True))
        assert dry.count == 3
        assert str(FULFIL_ORDER.saga_id(shipment, "s1")) not in dry.sample_saga_ids
        held = await client.PauseSagas(pb.PauseSagasRequest(**fields()))
        assert (held.count, world.states()) == (4, ["PAUSED"] * 4)
        back = await client.CompensateSagas(pb.CompensateSagasRequest(**fields()))
        assert back.count == 3
        world.participant.whole = lambda _: None
        await client.ResumeSagas(pb.ResumeSagasRequest(**fields()))
        await world.until_ended(4)
    assert sorted(world.states()) == ["COMPENSATED"] * 3 + ["COMPLETED"]


async def test_skipped_step_lets_the_next_saga_have_its_turn(world: World) -> None:
    (order_id,) = new_ids(1)
    world.participant.whole = lambda requests: (
        TOO_MUCH if hasattr(requests[0], "amount_minor") else None
    )
    first, second = (FULFIL_ORDER.saga_id(order_id, one) for one in ("s1", "s2"))
    async with serve(world) as client:
        world.tell(order_id, shipped(order_id, "s1"))
        world.tell(order_id, shipped(order_id, "s2"))
        await eventually(lambda: sorted(world.states()) == ["NEEDS_OPERATOR", "QUEUED"])
        queued = await show(client, second)
        assert (queued.waits_for, queued.occurrence) == (str(first), "s2")
        world.participant.whole = lambda _: None
        await client.SkipStep(
            pb.SkipStepRequest(**about(order_id, saga_id=str(first), step="capture-payment"))
        )
        await world.until_ended(2)


async def test_saga_started_by_hand_is_started_once(world: World) -> None:
    (order_id,) = new_ids(1)
    trigger = AnyMessage()
    trigger.Pack(shipped(order_id))

    def request(**changes: Any) -> Any:
        fields: dict[str, Any] = {
            "request_id": str(uuid.uuid4()),
            "definition": "fulfil-order",
            "trigger": trigger,
            "reason": "the event was lost",
        }
        return pb.StartSagaRequest(**{**fields, **changes})

    async with serve(world) as client:
        once = request()
        started = (await client.StartSaga(once)).saga
        assert started.saga_id == str(FULFIL_ORDER.saga_id(order_id, "s1"))
        await world.until_ended(1)
        assert (await client.StartSaga(once)).saga == started
        again = (await client.StartSaga(request())).saga
        assert again.state == saga_pb2.SAGA_STATE_COMPLETED
        assert [one.operation for one in again.audit] == ["start"]
        world.tell(order_id, shipped(order_id))
        world.tell(order_id, shipped(order_id, "s2"))
        await world.until_ended(2)
        with pytest.raises(grpc.aio.AioRpcError) as wrong:
            await client.StartSaga(request(definition="return-order"))
    assert wrong.value.code() is grpc.StatusCode.NOT_FOUND
    assert "SAGA_TRIGGER_UNKNOWN" in reason_of(wrong.value)


def _bad_triggers() -> list[tuple[str, AnyMessage, str]]:
    (order_id,) = new_ids(1)
    broken = AnyMessage()
    broken.Pack(shipped(order_id))
    broken.value = broken.value[:-1]
    found = [("broken", broken, "trigger.value")]
    for name, event, field in (
        ("NUL", shipped(order_id, "s\x001"), "trigger.shipment.shipment_id"),
        ("long id", shipped(order_id, "s" * 3_000), "trigger"),
        ("no UUID", shipped("order"), "trigger"),
    ):
        trigger = AnyMessage()
        trigger.Pack(event)
        found.append((name, trigger, field))
    return found


@pytest.mark.parametrize(
    ("trigger", "field"),
    [pytest.param(trigger, field, id=name) for name, trigger, field in _bad_triggers()],
)
async def test_an_event_that_cannot_be_starts_nothing(
    world: World, trigger: AnyMessage, field: str
) -> None:
    request = pb.StartSagaRequest(
        request_id=str(uuid.uuid4()), definition="fulfil-order", trigger=trigger, reason="lost"
    )

    async with serve(world) as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.StartSaga(request)

    details = error_details(refused.value)
    assert (details.code, list(details.violations)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_refusals_name_what_is_wrong(world: World) -> None:
    (order_id,) = new_ids(1)
    async with serve(world) as client:
        world.place(order_id)
        await world.until_ended(1)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await client.PauseSaga(pb.PauseSagaRequest(**about(order_id)))
        with pytest.raises(grpc.aio.AioRpcError) as no_step:
            await client.RetryStep(pb.RetryStepRequest(**about(order_id, step="fly")))
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            fields = about(order_id, saga_id=str(uuid.uuid4()))
            await client.PauseSaga(pb.PauseSagaRequest(**fields))
        with pytest.raises(grpc.aio.AioRpcError) as no_reason:
            await client.PauseSaga(pb.PauseSagaRequest(**about(order_id, reason="")))
        saga = await show(client, PLACE_ORDER.saga_id(order_id))
    assert ended.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "SAGA_OPERATION_FORBIDDEN" in reason_of(ended.value)
    assert "SAGA_STEP_NOT_FOUND" in reason_of(no_step.value)
    assert "SAGA_NOT_FOUND" in reason_of(unknown.value)
    assert no_reason.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(saga.audit) == []


async def test_participants_are_listed(world: World) -> None:
    async with serve(world) as client:
        answer = await client.ListParticipants(pb.ListParticipantsRequest())
    assert [one.name for one in answer.participants] == ["inventory", "order", "payment"]
    assert not any(one.HasField("away_since") for one in answer.participants)
