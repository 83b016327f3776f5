"""A saga is shown as it moves."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import grpc
import pytest
from trackops.saga.v1 import saga_pb2, saga_service_pb2

from trackops_saga_orchestrator.application.ports import SagaView
from trackops_saga_orchestrator.application.watch_sagas import WatchSagas
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import SagaState

from .service_world import World, new_ids, serve

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def view(state: SagaState) -> SagaView:
    snapshot = SagaInstance.start(PLACE_ORDER, "order-1", {}, now=NOW).snapshot()
    return SagaView(replace(snapshot, state=state), create_time=NOW, update_time=NOW)


async def test_each_change_is_shown_once_and_the_end_is_the_end() -> None:
    running, back, ended = map(
        view, (SagaState.RUNNING, SagaState.COMPENSATING, SagaState.COMPENSATED)
    )
    found = iter([running, running, back, back, ended])
    looks = 0

    async def find(_: uuid.UUID) -> SagaView:
        return next(found)

    async def pause() -> None:
        nonlocal looks
        looks += 1

    shown = [one async for one in WatchSagas(find, pause)(uuid.uuid4())]

    assert (shown, looks) == ([running, back, ended], 4)


async def test_a_watch_lasts_until_the_saga_has_ended(world: World) -> None:
    (order_id,) = new_ids(1)
    request = saga_service_pb2.WatchSagaRequest(saga_id=str(PLACE_ORDER.saga_id(order_id)))
    async with serve(world) as client:
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await anext(aiter(client.WatchSaga(request)))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND

        world.place(order_id)
        await world.until_ended(1)
        states: Sequence[int] = [one.saga.state async for one in client.WatchSaga(request)]

    assert states == [saga_pb2.SAGA_STATE_COMPLETED]
