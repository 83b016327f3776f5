"""WatchOrder over gRPC: order services as processes on real servers, and events in Kafka."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import grpc
import psutil
import pytest
from confluent_kafka import Producer
from trackops.order.v1 import order_pb2, order_service_pb2

from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import KafkaCluster, temporary_stack, wait_for
from trackops_common import envelope
from trackops_common.database import Database
from trackops_common.testing import ErrorDetails, error_details
from trackops_common.topic_setup import ensure_topics
from trackops_common.topics import ORDER_EVENTS
from trackops_order.testing import (
    OrderServer,
    OrderServices,
    close_request,
    confirm_request,
    create_request,
)

NO_REDIS = "redis://127.0.0.1:1/0"
ROLE = "trackops_order"
PENDING, CONFIRMED = order_pb2.ORDER_STATE_PENDING, order_pb2.ORDER_STATE_CONFIRMED

_UNPUBLISHED = """
SELECT seq, event_id, topic, key, type, aggregate_version, payload FROM outbox
 WHERE seq > %(seq)s ORDER BY seq
"""


class Relay:
    """Moves the outbox to Kafka as the relay does, but when it is told to."""

    def __init__(self, rows: Database, bootstrap: str) -> None:
        self._rows = rows
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
        self._writer = envelope.HeaderWriter(ROLE)
        self._seq = 0

    def publish(self) -> None:
        rows = self._rows.fetch(_UNPUBLISHED, {"seq": self._seq})
        for seq, event_id, topic, key, type_, version, payload in rows:
            headers = self._writer.headers(
                event_id=str(event_id),
                type_=type_,
                subject=key,
                time="2026-01-01T00:00:00Z",
                outboxseq=seq,
                aggregateversion=version,
                traceparent="",
            )
            self._producer.produce(topic, bytes(payload), key=key, headers=headers)
            self._seq = seq
        assert self._producer.flush(60) == 0


class Shop:
    """Order services on one database and one topic."""

    def __init__(self, services: OrderServices, url: str, kafka: str, topic: str) -> None:
        self._services = services
        self._url = url
        self._kafka = kafka
        self._topic = topic
        self.rows = Database(url, application_name="test", pool_size=2)
        self.relay = Relay(self.rows, kafka)

    def serve(self, **more: str) -> OrderServer:
        """One more replica."""
        return self._services.serve(
            self._url,
            NO_REDIS,
            kafka=self._kafka,
            more={"TRACKOPS_ORDER_EVENTS_TOPIC": self._topic} | more,
        )


@pytest.fixture
def shop(services: OrderServices, database: FreshDatabase, kafka: KafkaCluster) -> Iterator[Shop]:
    made = Shop(services, database.url(ROLE), kafka.bootstrap, kafka.topic(partitions=3))
    with closing(made.rows):
        yield made


def _watch(service: OrderServer, order_id: str, after_version: int = 0) -> Any:
    request = order_service_pb2.WatchOrderRequest(order_id=order_id, after_version=after_version)
    return service.orders.WatchOrder(request, timeout=120)


def _place(service: OrderServer, lines: int = 1) -> str:
    return service.orders.CreateOrder(create_request(lines=lines)).order.order_id


def _ship(service: OrderServer, order_id: str, skus: Sequence[str] = ("SKU-2",)) -> None:
    service.orders.ShipOrder(
        order_service_pb2.ShipOrderRequest(
            request_id=str(uuid.uuid4()),
            order_id=order_id,
            lines=[order_pb2.Pieces(sku=sku, quantity=1) for sku in skus],
            carrier="DHL",
            tracking_number="1",
        )
    )


def _failure(watch: Any) -> ErrorDetails:
    with pytest.raises(grpc.RpcError) as failed:
        next(watch)
    return error_details(failed.value)


def _versions(messages: Sequence[Any]) -> list[int]:
    return [message.entry.version for message in messages]


def test_a_watcher_sees_the_order_and_then_each_change_until_the_last(shop: Shop) -> None:
    service = shop.serve()
    order_id = _place(service)
    watch = _watch(service, order_id)

    first = next(watch)
    shown = service.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=order_id)).order
    assert first.order == shown
    assert (first.entry.version, first.entry.state) == (1, PENDING)

    service.sagas.CloseOrder(close_request(order_id))
    shop.relay.publish()

    timeline = service.orders.GetOrderTimeline(
        order_service_pb2.GetOrderTimelineRequest(order_id=order_id)
    )
    (last,) = watch
    assert last.entry == timeline.entries[-1]
    assert last.entry.rejection.reason == "PAYMENT_DECLINED"
    assert not last.HasField("order")
    assert watch.code() is grpc.StatusCode.OK


def test_what_its_own_replica_changes_is_seen_before_the_relay_gets_to_it(shop: Shop) -> None:
    service = shop.serve()
    order_id = _place(service)
    watch = _watch(service, order_id)
    next(watch)

    service.sagas.ConfirmOrder(confirm_request(order_id))

    assert next(watch).entry.state == CONFIRMED


def test_what_another_replica_changes_is_seen(shop: Shop) -> None:
    here, there = shop.serve(), shop.serve()
    order_id = _place(there)
    watch = _watch(here, order_id)
    next(watch)

    there.sagas.ConfirmOrder(confirm_request(order_id))
    shop.relay.publish()

    assert next(watch).entry.state == CONFIRMED


def test_a_watch_goes_on_at_another_replica_when_its_own_stops(shop: Shop) -> None:
    first, second = shop.serve(), shop.serve()
    order_id = _place(first, lines=3)
    watch = _watch(first, order_id)
    seen = [next(watch)]
    second.sagas.ConfirmOrder(confirm_request(order_id))
    shop.relay.publish()
    seen.append(next(watch))

    first.process.terminate()
    details = _failure(watch)
    _ship(second, order_id)
    resumed = _watch(second, order_id, after_version=seen[-1].entry.version)
    seen.append(next(resumed))
    _ship(second, order_id)
    shop.relay.publish()
    seen.append(next(resumed))

    assert (details.code, details.message) == (
        grpc.StatusCode.UNAVAILABLE,
        "the server is stopping",
    )
    assert _versions(seen) == [1, 2, 3, 4]
    assert first.process.wait() == 0


@pytest.mark.parametrize(
    ("wrong", "code", "reason", "violations"),
    [
        ({"order_id": "x"}, "INVALID_ARGUMENT", "INVALID_REQUEST", ["order_id"]),
        ({"after_version": -1}, "INVALID_ARGUMENT", "INVALID_REQUEST", ["after_version"]),
        ({"after_version": 2}, "FAILED_PRECONDITION", "VERSION_NOT_REACHED", []),
        ({"order_id": str(uuid.uuid4())}, "NOT_FOUND", "ORDER_NOT_FOUND", []),
    ],
)
def test_what_cannot_be_watched_is_refused(
    service: OrderServer, wrong: dict[str, Any], code: str, reason: str, violations: list[str]
) -> None:
    valid: dict[str, Any] = {"order_id": _place(service), "after_version": 0}

    details = _failure(_watch(service, **(valid | wrong)))

    assert (details.code.name, details.reason) == (code, reason)
    assert list(details.violations) == violations


def test_a_stream_too_many_is_told_when_to_come_back(shop: Shop) -> None:
    service = shop.serve(TRACKOPS_MAX_STREAMS="1")
    order_id = _place(service)
    watch = _watch(service, order_id)
    next(watch)

    details = _failure(_watch(service, order_id))

    assert (details.code.name, details.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
    assert details.retry_after_seconds


def test_a_slow_reader_gets_everything_in_the_end(shop: Shop) -> None:
    """More than fits into the connection: the server cannot send before it is read."""
    service = shop.serve()
    skus = [f"SKU-{number}" for number in range(200, 500)]
    order_id = _place(service, lines=500)
    service.sagas.ConfirmOrder(confirm_request(order_id))
    watch = _watch(service, order_id, after_version=1)
    assert next(watch).entry.state == CONFIRMED

    for _ in range(120):
        _ship(service, order_id, skus)
    shop.relay.publish()

    seen = [next(watch) for _ in range(120)]
    assert _versions(seen) == list(range(3, 123))
    assert sum(message.ByteSize() for message in seen) > 300_000


def test_a_thousand_streams_take_no_thread_and_little_memory(shop: Shop) -> None:
    service = shop.serve()
    process = psutil.Process(service.process.pid)
    order_ids = [_place(service) for _ in range(10)]
    warm = [_watch(service, order_id) for order_id in order_ids]
    for watch in warm:
        next(watch)
    threads, memory = process.num_threads(), process.memory_info().rss

    watches = [_watch(service, order_ids[number % 10]) for number in range(1000)]
    for watch in watches:
        assert next(watch).entry.version == 1
    assert process.num_threads() <= threads + 2  # those of the pool that reads
    for order_id in order_ids:
        service.sagas.ConfirmOrder(confirm_request(order_id))
    shop.relay.publish()

    for watch in (*warm, *watches):
        assert next(watch).entry.version == 2
    assert process.num_threads() <= threads + 2
    assert process.memory_info().rss - memory < 100 * 1024 * 1024
    for watch in (*warm, *watches):
        watch.cancel()
    wait_for(lambda: service.process.logged("not following order events"), what="the feed to end")


def test_an_order_can_be_watched_while_kafka_is_away(
    services: OrderServices, database: FreshDatabase
) -> None:
    service = services.serve(database.url(ROLE), NO_REDIS)
    order_id = _place(service)

    watch = _watch(service, order_id)

    assert next(watch).entry.version == 1
    service.sagas.ConfirmOrder(confirm_request(order_id))
    assert next(watch).entry.version == 2
    assert _versions([next(_watch(service, order_id, after_version=1))]) == [2]
    service.process.terminate()
    assert _failure(watch).code is grpc.StatusCode.UNAVAILABLE
    assert service.process.wait() == 0


@pytest.fixture
def own_kafka() -> Iterator[LocalStack]:
    """A broker that the test may stop."""
    with temporary_stack() as stack:
        stack.kafka.start()
        ensure_topics(stack.addresses.kafka, [ORDER_EVENTS])
        yield stack


def test_what_is_written_while_the_broker_is_away_is_told_when_it_is_back(
    services: OrderServices, database: FreshDatabase, own_kafka: LocalStack
) -> None:
    bootstrap = own_kafka.addresses.kafka.bootstrap_servers
    shop = Shop(services, database.url(ROLE), bootstrap, ORDER_EVENTS.name)
    with closing(shop.rows):
        here, there = shop.serve(), shop.serve()
        order_id = _place(there, lines=3)
        watch = _watch(here, order_id)
        seen = [next(watch)]
        there.sagas.ConfirmOrder(confirm_request(order_id))
        shop.relay.publish()
        seen.append(next(watch))

        own_kafka.kafka.stop()
        _ship(there, order_id)
        own_kafka.kafka.start()
        shop.relay.publish()
        seen.append(next(watch))
        _ship(there, order_id)
        shop.relay.publish()
        seen.append(next(watch))

    assert _versions(seen) == [1, 2, 3, 4]
