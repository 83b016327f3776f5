"""The whole service on real Postgres and Kafka, its participants played by a server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from confluent_kafka import Producer
from google.rpc import code_pb2
from pydantic import SecretStr
from trackops.order.v1 import order_events_pb2, order_pb2
from trackops.saga.v1 import saga_pb2, saga_service_pb2, saga_service_pb2_grpc

from trackops_common.database import Database
from trackops_common.envelope import HeaderWriter
from trackops_common.errors import StartRefused
from trackops_common.grpc.endpoints import handlers_of
from trackops_common.testing import eventually
from trackops_saga_orchestrator.bootstrap import SagaSettings, bootstrap
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER

from .participant_server import Participant, serving, status

ROLE = "trackops_saga_orchestrator"


@dataclass
class World:
    """Everything around the service."""

    database: Database
    settings: SagaSettings
    participant: Participant

    def place(self, *order_ids: str, type_: str = "OrderPlaced") -> None:
        """The events of accepted orders, in Kafka when it returns."""
        writer = HeaderWriter("trackops_order")
        producer = Producer({"bootstrap.servers": self.settings.kafka_bootstrap_servers})
        for order_id in order_ids:
            headers = writer.headers(
                event_id=str(uuid.uuid4()),
                type_=f"trackops.order.v1.{type_}",
                subject=order_id,
                time="2026-01-01T00:00:00Z",
                outboxseq=1,
                aggregateversion=1,
                traceparent="",
            )
            topic = self.settings.order_events_topic
            value = _order_placed(order_id).SerializeToString()
            producer.produce(topic, value, key=order_id, headers=headers)
        assert producer.flush(20) == 0

    def states(self) -> Sequence[str]:
        return [row[0] for row in self.database.fetch("SELECT state FROM sagas ORDER BY subject")]

    async def until_ended(self, count: int) -> None:
        ends = ("COMPLETED", "COMPENSATED")
        await eventually(lambda: sum(state in ends for state in self.states()) == count)


@pytest.fixture
async def world(database: Any, kafka: Any) -> AsyncIterator[World]:
    participant = Participant()
    async with serving(participant) as target:
        settings = SagaSettings(
            listen="127.0.0.1:0",
            database_url=SecretStr(database.url(ROLE)),
            kafka_bootstrap_servers=kafka.bootstrap,
            inventory_target=target,
            payment_target=target,
            order_target=target,
            order_events_topic=kafka.topic(),
            dead_letters_topic=kafka.topic(),
            retries_topic=kafka.topic(),
            order_events_consumer=f"test-{uuid.uuid4()}",
        )
        mine = Database(database.url(ROLE), application_name="test")
        yield World(mine, settings, participant)
        mine.close()


@asynccontextmanager
async def serve(world: World) -> AsyncIterator[saga_service_pb2_grpc.SagaServiceAsyncStub]:
    """The service at work, and a client of it."""
    async with bootstrap(world.settings) as application:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(tuple(map(handlers_of, application.rpc_services)))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield saga_service_pb2_grpc.SagaServiceStub(channel)
        await server.stop(0)


def _order_placed(order_id: str) -> order_events_pb2.OrderPlaced:
    order = order_pb2.Order(
        order_id=order_id,
        customer_id="customer-1",
        lines=[order_pb2.OrderLine(sku="TEA-1", quantity=2, unit_price_minor=300)],
        currency_code="EUR",
        total_minor=600,
        version=1,
    )
    return order_events_pb2.OrderPlaced(order=order, payment_method_token="tok_visa")


def new_ids(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


async def get(client: Any, order_id: str) -> saga_pb2.Saga:
    saga_id = str(PLACE_ORDER.saga_id(order_id))
    answer = await client.GetSaga(saga_service_pb2.GetSagaRequest(saga_id=saga_id))
    saga: saga_pb2.Saga = answer.saga
    return saga


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
