"""What every feed of order events promises, in memory or in Kafka; and what Kafka's must stand."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions
from structlog.testing import capture_logs

from trackops_cli.testing import KafkaCluster
from trackops_common import envelope
from trackops_common.background import running
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.testing import eventually
from trackops_order.adapters.order_feed import FeedSettings, KafkaOrderFeed
from trackops_order.application.ports import OrderFeed, Subscription
from trackops_order.testing import InMemoryOrderFeed

ORDER, OTHER = uuid.uuid4(), uuid.uuid4()
_WRITER = envelope.HeaderWriter("trackops_order")


class Topic:
    """A topic of order events, and a producer for it."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self.bootstrap = bootstrap
        self.name = name
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})

    def publish(self, order_id: UUID, version: int, partition: int = 0) -> None:
        self._produce(self._producer, order_id, version, partition)
        assert self._producer.flush(30) == 0

    def publish_and_abort(self, order_id: UUID, version: int) -> None:
        """In a transaction that does not come to its end."""
        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "transactional.id": uuid.uuid4().hex}
        )
        producer.init_transactions(30)
        producer.begin_transaction()
        self._produce(producer, order_id, version, 0)
        producer.flush(30)
        producer.abort_transaction(30)

    def publish_nonsense(self, order_id: UUID) -> None:
        self._producer.produce(self.name, b"?", key=str(order_id), partition=0)
        assert self._producer.flush(30) == 0

    def add_partition(self, total: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_partitions([NewPartitions(self.name, total)])[self.name].result(30)

    def _produce(self, producer: Producer, order_id: UUID, version: int, partition: int) -> None:
        headers = _WRITER.headers(
            event_id=str(uuid.uuid4()),
            type_="trackops.order.v1.OrderConfirmed",
            subject=str(order_id),
            time="2026-01-01T00:00:00Z",
            outboxseq=version,
            aggregateversion=version,
            traceparent="",
        )
        producer.produce(
            self.name, b"payload", key=str(order_id), headers=headers, partition=partition
        )


@dataclass(frozen=True)
class Feed:
    feed: OrderFeed
    publish: Callable[[UUID, int], None]
    begin_anew: Callable[[], None]


@pytest.fixture
def topic(kafka: KafkaCluster) -> Topic:
    return Topic(kafka.bootstrap, kafka.topic())


@asynccontextmanager
async def _following(topic: Topic, *, linger_seconds: float = 5) -> AsyncIterator[KafkaOrderFeed]:
    feed = KafkaOrderFeed(
        FeedSettings(
            kafka=KafkaAccess(topic.bootstrap),
            topic=topic.name,
            linger_seconds=linger_seconds,
            partitions_check_seconds=0.1,
            poll_seconds=0.05,
            pause_seconds=0.05,
        )
    )
    async with running({"feed": feed.run}):
        yield feed


@pytest.fixture(params=["in memory", "Kafka"])
async def feed(request: pytest.FixtureRequest) -> AsyncIterator[Feed]:
    if request.param == "in memory":
        fake = InMemoryOrderFeed()
        yield Feed(fake, fake.publish, fake.begin_anew)
        return
    topic: Topic = request.getfixturevalue("topic")
    async with _following(topic) as real:
        yield Feed(real, topic.publish, lambda: topic.add_partition(2))


async def _caught_up(subscription: Subscription, publish: Callable[[], None]) -> None:
    """Returns once the feed stands and has passed on the first version, which it may miss.

    The first news may be that the feed has begun; the second is that version.
    """
    hearing = asyncio.ensure_future(_twice(subscription))
    while not hearing.done():
        publish()
        await asyncio.wait([hearing], timeout=0.1)


async def _twice(subscription: Subscription) -> None:
    for _ in range(2):
        await subscription.news(above=0)


async def _soon(subscription: Subscription, *, above: int) -> None:
    async with asyncio.timeout(20):
        await subscription.news(above=above)


async def test_a_version_that_is_published_is_heard(feed: Feed) -> None:
    with feed.feed.subscribe(ORDER) as subscription:
        await _caught_up(subscription, lambda: feed.publish(ORDER, 1))

        feed.publish(ORDER, 2)

        await _soon(subscription, above=1)


async def test_a_version_that_it_is_told_is_heard(feed: Feed) -> None:
    with feed.feed.subscribe(ORDER) as subscription:
        await _caught_up(subscription, lambda: feed.publish(ORDER, 1))

        feed.feed.tell({ORDER: 5, OTHER: 9})

        await _soon(subscription, above=4)


async def test_what_was_heard_while_nobody_listened_counts(feed: Feed) -> None:
    with feed.feed.subscribe(ORDER) as subscription, feed.feed.subscribe(OTHER) as other:
        await _caught_up(subscription, lambda: feed.publish(ORDER, 1))

        feed.publish(ORDER, 3)
        feed.publish(OTHER, 1)
        for _ in range(2):
            await _soon(other, above=0)

        await _soon(subscription, above=2)


async def test_versions_that_were_seen_and_other_orders_are_no_news(feed: Feed) -> None:
    with feed.feed.subscribe(ORDER) as subscription, feed.feed.subscribe(OTHER) as other:
        await _caught_up(subscription, lambda: feed.publish(ORDER, 1))
        for _ in range(2):
            feed.publish(OTHER, 1)
            await _soon(other, above=0)
        news = asyncio.ensure_future(subscription.news(above=5))

        feed.publish(ORDER, 4)
        feed.publish(ORDER, 5)
        feed.publish(OTHER, 9)
        await _soon(other, above=8)

        assert not news.done()
        feed.publish(ORDER, 6)
        async with asyncio.timeout(20):
            await news


async def test_everybody_who_watches_an_order_hears_of_it(feed: Feed) -> None:
    with (
        feed.feed.subscribe(ORDER) as first,
        feed.feed.subscribe(ORDER) as second,
        feed.feed.subscribe(OTHER) as other,
    ):
        await _caught_up(other, lambda: feed.publish(OTHER, 1))

        feed.publish(ORDER, 3)

        for subscription in (first, second):
            await _soon(subscription, above=0)
            await _soon(subscription, above=2)


async def test_one_who_leaves_takes_nobody_along(feed: Feed) -> None:
    with feed.feed.subscribe(ORDER) as staying:
        with feed.feed.subscribe(ORDER):
            pass
        await _caught_up(staying, lambda: feed.publish(ORDER, 1))

        feed.publish(ORDER, 2)

        await _soon(staying, above=1)


async def test_when_it_begins_anew_anything_may_have_changed(feed: Feed) -> None:
    with feed.feed.subscribe(ORDER) as subscription:
        await _caught_up(subscription, lambda: feed.publish(ORDER, 1))

        feed.begin_anew()

        await _soon(subscription, above=100)


async def test_events_of_a_new_partition_are_heard(topic: Topic) -> None:
    async with _following(topic) as feed:
        with feed.subscribe(ORDER) as subscription:
            await _caught_up(subscription, lambda: topic.publish(ORDER, 1))
            topic.add_partition(2)
            await _soon(subscription, above=100)

            Topic(topic.bootstrap, topic.name).publish(ORDER, 2, partition=1)

            await _soon(subscription, above=1)


async def test_what_was_never_committed_to_kafka_is_not_heard(topic: Topic) -> None:
    async with _following(topic) as feed:
        with feed.subscribe(ORDER) as subscription, feed.subscribe(OTHER) as other:
            await _caught_up(subscription, lambda: topic.publish(ORDER, 1))
            await _soon(other, above=0)  # that it has begun
            news = asyncio.ensure_future(subscription.news(above=1))

            topic.publish_and_abort(ORDER, 2)
            topic.publish(OTHER, 1)
            await _soon(other, above=0)

            assert not news.done()
            news.cancel()


async def test_a_message_that_is_no_event_is_passed_over(topic: Topic) -> None:
    async with _following(topic) as feed:
        with feed.subscribe(ORDER) as subscription:
            await _caught_up(subscription, lambda: topic.publish(ORDER, 1))
            with capture_logs() as logs:
                topic.publish_nonsense(ORDER)
                topic.publish(ORDER, 2)
                await _soon(subscription, above=1)

    assert "not an order event" in [line["event"] for line in logs]


async def test_it_follows_only_while_somebody_watches(topic: Topic) -> None:
    with capture_logs() as logs:

        def said(event: str) -> int:
            return [line["event"] for line in logs].count(event)

        async with _following(topic, linger_seconds=0.05) as feed:
            for turn in (1, 2):
                assert said("following order events") == turn - 1
                with feed.subscribe(ORDER) as subscription:
                    await _caught_up(subscription, lambda: topic.publish(ORDER, 1))
                    assert said("not following order events") == turn - 1
                await eventually(lambda t=turn: said("not following order events") == t)  # type: ignore[misc]


async def test_a_feed_in_no_group_leaves_none_behind(topic: Topic) -> None:
    async with _following(topic) as feed:
        with feed.subscribe(ORDER) as subscription:
            await _caught_up(subscription, lambda: topic.publish(ORDER, 1))
            admin = AdminClient({"bootstrap.servers": topic.bootstrap})
            groups = admin.list_consumer_groups().result(30)

    assert "trackops_order.feed" not in [group.group_id for group in groups.valid]
