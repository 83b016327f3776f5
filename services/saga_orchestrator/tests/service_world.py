"""The whole service on real Postgres and Kafka, its participants played by a server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Producer
from google.protobuf.message import Message
from pydantic import SecretStr
from trackops.order.v1 import order_events_pb2, order_pb2
from trackops.saga.v1 import saga_pb2, saga_service_pb2, saga_service_pb2_grpc

from trackops_common.database import Database
from trackops_common.envelope import HeaderWriter
from trackops_common.testing import eventually
from trackops_common.testing import serving as application_channel
from trackops_saga_orchestrator.bootstrap import SagaSettings, bootstrap
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER

from .participant_server import Participant, serving

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

    def tell(self, order_id: str, event: Message) -> None:
        """An event about an order, in Kafka when it returns."""
        headers = HeaderWriter("trackops_order").headers(
            event_id=str(uuid.uuid4()),
            type_=event.DESCRIPTOR.full_name,
            subject=order_id,
            time="2026-01-01T00:00:00Z",
            outboxseq=1,
            aggregateversion=1,
            traceparent="",
        )
        producer = Producer({"bootstrap.servers": self.settings.kafka_bootstrap_servers})
        producer.produce(
            self.settings.order_events_topic,
            event.SerializeToString(),
            key=order_id,
            headers=headers,
        )
        assert producer.flush(20) == 0

    def states(self) -> Sequence[str]:
        return [row[0] for row in self.database.fetch("SELECT state FROM sagas ORDER BY subject")]

    async def until_ended(self, count: int) -> None:
        ends = ("COMPLETED", "COMPENSATED")
        await eventually(lambda: sum(state in ends for state in self.states()) == count)


@asynccontextmanager
async def service_world(database: Any, kafka: Any) -> AsyncIterator[World]:
    """A world on a database and a topic of its own."""
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
    async with (
        bootstrap(world.settings) as application,
        application_channel(application) as channel,
    ):
        yield saga_service_pb2_grpc.SagaServiceStub(channel)


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
