"""Events in Kafka as somebody else's tools read them: with the CloudEvents SDK for Python."""

from __future__ import annotations

import uuid
from datetime import UTC
from typing import Any

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from trackops.order.v1 import order_events_pb2, order_pb2, order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_cli.testing import Mesh, wait_for
from trackops_common.testing_tokens import authorized_channel
from trackops_common.topics import ORDER_EVENTS

_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class _AsItCame(JSONFormat):
    """The SDK makes text of bytes that could be some, unless it is told what they are."""

    def read_data(self, body: bytes, _: str | None) -> bytes:
        return body


def _read_first(mesh: Mesh, order_id: str) -> tuple[BaseCloudEvent, dict[str, Any]]:
    """The order's first event, and the headers it came with."""
    consumer = Consumer(
        {
            **mesh.kafka.connection,
            "group.id": f"test-{uuid.uuid4()}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    found: list[tuple[BaseCloudEvent, dict[str, Any]]] = []

    def read() -> bool:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None and message.key() == order_id.encode():
            headers: dict[str, Any] = dict(message.headers() or ())
            kafka_message = KafkaMessage(headers, message.key(), message.value() or b"")
            found.append((from_binary(kafka_message, _AsItCame()), headers))
        return bool(found)

    try:
        consumer.assign(
            [
                TopicPartition(ORDER_EVENTS.name, number, OFFSET_BEGINNING)
                for number in range(ORDER_EVENTS.partitions)
            ]
        )
        wait_for(read, what="the order's event")
    finally:
        consumer.close()
    return found[0]


def test_an_event_is_a_cloudevent_and_carries_the_trace_of_its_request(mesh: Mesh) -> None:
    with authorized_channel(mesh.target("order"), mesh.token) as channel:
        request = order_service_pb2.CreateOrderRequest(
            request_id=str(uuid.uuid4()),
            customer_id="c-1",
            currency_code="EUR",
            lines=[order_pb2.OrderLine(sku="TEA-1", quantity=1, unit_price_minor=100)],
            payment_method_token="tok_ok",
        )
        stub = OrderServiceStub(channel)
        order = stub.CreateOrder(request, timeout=20, metadata=(("traceparent", _TRACE),)).order
    event, headers = _read_first(mesh, order.order_id)
    assert headers["traceparent"] == _TRACE.encode()
    assert event.get_specversion() == "1.0"
    assert event.get_type() == "trackops.order.v1.OrderPlaced"
    assert event.get_source() == "/trackops/trackops_order"
    assert event.get_subject() == order.order_id
    assert event.get_time() == order.create_time.ToDatetime(UTC)
    assert event.get_datacontenttype() == "application/protobuf"
    assert event.get_extension("aggregateversion") == "1"
    assert int(event.get_extension("outboxseq")) > 0
    data: Any = event.get_data()
    assert order_events_pb2.OrderPlaced.FromString(data).order == order
