"""What the relay tells about the events of one key, on a real broker and a real database."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from trackops.relay.v1 import relay_service_pb2 as pb
from trackops.relay.v1.relay_service_pb2_grpc import RelayServiceStub

from trackops_cli.testing import wait_for
from trackops_common.outbox import OutboxEvent
from trackops_common.testing import eventually, serving
from trackops_outbox_relay.adapters.postgres import PostgresOutbox
from trackops_outbox_relay.bootstrap import bootstrap
from trackops_outbox_relay.testing import RelayBench

ORDER, INVENTORY = "trackops_order", "trackops_inventory"
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


async def test_each_event_of_a_key_is_told_with_its_place_and_how_far_it_came(
    bench: RelayBench,
) -> None:
    bench.write(ORDER, 3, key="another")
    (first,) = bench.write(ORDER, 1, key="order-1")
    (reserved,) = bench.write(INVENTORY, 1, key="order-1")
    bench.write(ORDER, 1, key="order-1", topic="trackops.order.events.v9")
    bench.write(ORDER, 1, key="order-1")
    async with bootstrap(bench.settings) as application, serving(application) as channel:
        stub = RelayServiceStub(channel)

        async def events() -> Sequence[pb.Event]:
            request = pb.ListEventsRequest(key="order-1", locate=True)
            answer: pb.ListEventsResponse = await stub.ListEvents(request)
            return answer.events

        def settled() -> bool:
            return len(bench.published(ORDER)) == 4 and len(bench.published(INVENTORY)) == 1

        await eventually(settled, what="the events in Kafka")
        found = await events()
        while any(one.state == pb.EVENT_STATE_WAITING for one in found):
            found = await events()

    assert [(one.source, one.seq) for one in found] == [
        (INVENTORY, 1), (ORDER, 4), (ORDER, 5), (ORDER, 6),
    ]  # fmt: skip
    assert [pb.EventState.Name(one.state).removeprefix("EVENT_STATE_") for one in found] == [
        "PUBLISHED", "PUBLISHED", "QUARANTINED", "QUARANTINED",
    ]  # fmt: skip
    assert [one.event_id for one in found[:2]] == [reserved, first]
    assert found[1].type == "trackops.order.v1.OrderPlaced"
    places = [(one.HasField("offset"), one.partition) for one in found]
    assert places == [(True, 0), (True, 0), (False, 0), (False, 0)]
    assert _ids_at(bench)[found[1].offset] == first
    assert _ids_at(bench)[found[0].offset] == reserved


def _ids_at(bench: RelayBench) -> dict[int, str]:
    """Ids of the events in the bench's topic, by offset, as a consumer of its own finds them."""
    from confluent_kafka import Consumer, TopicPartition

    settings = {
        "bootstrap.servers": bench.settings.kafka_bootstrap_servers,
        "group.id": "test-places",
        "isolation.level": "read_committed",
    }
    consumer = Consumer(settings)
    found: dict[int, str] = {}
    try:
        consumer.assign([TopicPartition(bench.topic, 0, 0)])

        def enough() -> bool:
            message = consumer.poll(1)
            if message is not None and message.error() is None:
                headers: Any = dict(message.headers() or ())
                found[message.offset() or 0] = headers["ce_id"].decode()
            return len(found) == 5

        wait_for(enough, what="five events")
    finally:
        consumer.close()
    return found


def test_rows_since_a_time_begin_where_they_do(bench: RelayBench) -> None:
    outbox = PostgresOutbox(bench.own, ORDER)
    assert outbox.first_seq(NOW) == 0
    events = [
        OutboxEvent(
            event_id=uuid.uuid4(),
            topic=bench.topic,
            key="k",
            type="t",
            aggregate_version=1,
            payload=b"",
            occurred_at=NOW + timedelta(minutes=number),
        )
        for number in range(10)
    ]
    with bench.databases[ORDER].transaction() as transaction:
        transaction.commit(events)

    assert outbox.first_seq(NOW - timedelta(days=1)) == 1
    for number in range(10):
        assert outbox.first_seq(events[number].occurred_at) == number + 1
    assert outbox.first_seq(NOW + timedelta(days=1)) == 11
