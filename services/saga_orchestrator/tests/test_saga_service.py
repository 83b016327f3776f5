"""The whole service: what starts sagas, and how they are shown."""

from __future__ import annotations

import uuid

import grpc
import pytest
from google.rpc import code_pb2
from trackops.saga.v1 import saga_pb2, saga_service_pb2

from trackops_common.errors import StartRefused
from trackops_common.testing import eventually
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER

from .participant_server import status
from .service_world import World, get, new_ids, serve


async def test_placed_orders_run_to_their_end_and_can_be_looked_at(world: World) -> None:
    good, bad = new_ids(2)
    world.participant.items = {}
    declined = status(code_pb2.FAILED_PRECONDITION, "declined", "PAYMENT_DECLINED")
    world.participant.whole = lambda requests: (
        declined
        if any(one.order_id == bad and hasattr(one, "amount_minor") for one in requests)
        else None
    )
    async with serve(world) as client:
        world.place(good, bad)
        await world.until_ended(2)
        done, undone = await get(client, good), await get(client, bad)
    assert done.state == saga_pb2.SAGA_STATE_COMPLETED
    assert [step.name for step in done.steps] == list(PLACE_ORDER.all_steps)
    assert [step.attempts for step in done.steps] == [1, 1, 1, 0]
    assert (done.subject, done.definition, done.definition_version) == (good, "place-order", 1)
    assert undone.state == saga_pb2.SAGA_STATE_COMPENSATED
    assert (undone.failure_reason, undone.failure_message) == ("PAYMENT_DECLINED", "declined")
    assert undone.steps[1].error == "declined"


async def test_repeated_and_other_events_start_nothing(world: World) -> None:
    (order_id,) = new_ids(1)
    async with serve(world):
        world.place(order_id, order_id)
        world.place(*new_ids(1), type_="OrderConfirmed")
        await world.until_ended(1)
        world.place(order_id, *new_ids(1))
        await world.until_ended(2)
    assert len(world.states()) == 2
    reservations = [
        one.order_id
        for request in world.participant.requests
        for one in request.requests
        if hasattr(one, "items")
    ]
    assert len(reservations) == 2


async def test_what_one_process_left_the_next_one_finishes(world: World) -> None:
    orders = new_ids(20)
    away = status(code_pb2.UNAVAILABLE, "away")
    world.participant.items = dict.fromkeys(orders, away)
    async with serve(world):
        world.place(*orders)
        await eventually(lambda: len(world.states()) == 20)
    world.participant.items = {}
    async with serve(world):
        await world.until_ended(20)
    assert set(world.states()) == {"COMPLETED"}


async def test_list_goes_by_pages_and_filters(world: World) -> None:
    orders = new_ids(5)
    async with serve(world) as client:
        world.place(*orders)
        await world.until_ended(5)
        seen: list[str] = []
        token = ""
        while True:
            request = saga_service_pb2.ListSagasRequest(page_size=2, page_token=token)
            page = await client.ListSagas(request)
            seen += [saga.subject for saga in page.sagas]
            if not (token := page.next_page_token):
                break
        assert sorted(seen) == sorted(orders)
        assert len(seen) == 5
        one = await client.ListSagas(
            saga_service_pb2.ListSagasRequest(
                subject=orders[0], states=[saga_pb2.SAGA_STATE_COMPLETED]
            )
        )
        assert [saga.subject for saga in one.sagas] == [orders[0]]
        none = await client.ListSagas(
            saga_service_pb2.ListSagasRequest(states=[saga_pb2.SAGA_STATE_RUNNING])
        )
        assert list(none.sagas) == []


async def test_bad_requests_are_told_what_is_wrong(world: World) -> None:
    async with serve(world) as client:
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await client.GetSaga(saga_service_pb2.GetSagaRequest(saga_id=str(uuid.uuid4())))
        with pytest.raises(grpc.aio.AioRpcError) as malformed:
            await client.GetSaga(saga_service_pb2.GetSagaRequest(saga_id="x"))
        tokens = []
        for token in ("x", "eHg=", "ü"):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await client.ListSagas(saga_service_pb2.ListSagasRequest(page_token=token))
            tokens.append(raised.value.code())
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    assert malformed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert set(tokens) == {grpc.StatusCode.INVALID_ARGUMENT}


async def test_start_is_refused_while_a_live_saga_has_no_definition(world: World) -> None:
    world.database.execute(
        "INSERT INTO sagas (saga_id, definition, definition_version, definition_hash, subject,"
        " state, input, steps, epoch, wake_at) VALUES (gen_random_uuid(), 'ship-order', 3, 'abc',"
        " 'x', 'NEEDS_OPERATOR', '{}', '[]', 1, now())"
    )
    with pytest.raises(StartRefused, match=r"ship-order v3 \(abc\): 1 unfinished"):
        async with serve(world):
            raise AssertionError("it serves")
