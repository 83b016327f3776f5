"""Every service hears which sessions ended before their tokens did."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions
from structlog.testing import capture_logs
from trackops.identity.v1.identity_events_pb2 import SessionsRevoked, UserRegistered

from trackops_cli.testing import KafkaCluster
from trackops_common import envelope
from trackops_common.access_tokens import AccessTokenVerifier, KeySet
from trackops_common.background import running
from trackops_common.revocations import RevocationFeed, RevocationSettings, Revoke
from trackops_common.testing import ManualClock, TcpLink, eventually
from trackops_common.topics import IDENTITY_EVENTS

UNTIL = datetime(2026, 1, 1, 12, tzinfo=UTC)
_WRITER = envelope.HeaderWriter("trackops_identity")


class Topic:
    """The identity service's events, and a relay for them."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self.bootstrap = bootstrap
        self.name = name
        self._producer = self._open()
        self._aborting = self._open()

    def publish(self, *session_ids: str, partition: int = 0, age_seconds: float = 0) -> None:
        payload = SessionsRevoked(user_id="ada", session_ids=session_ids)
        payload.access_expire_time.FromDatetime(UNTIL)
        self._commit("SessionsRevoked", payload.SerializeToString(), partition, age_seconds)

    def publish_plainly(self, session_id: str, *, partition: int, age_seconds: float) -> None:
        """Without a transaction, whose end would be younger than the event."""
        payload = SessionsRevoked(session_ids=[session_id]).SerializeToString()
        producer = Producer({"bootstrap.servers": self.bootstrap})
        self._produce(producer, "SessionsRevoked", payload, partition, age_seconds)
        assert producer.flush(30) == 0

    def publish_other(self) -> None:
        payload = UserRegistered(user_id="ada", email="ada@example.com")
        self._commit("UserRegistered", payload.SerializeToString())

    def publish_broken(self) -> None:
        self._commit("SessionsRevoked", b"\xff")

    def publish_and_abort(self, session_id: str) -> None:
        payload = SessionsRevoked(session_ids=[session_id]).SerializeToString()
        self._aborting.begin_transaction()
        self._produce(self._aborting, "SessionsRevoked", payload)
        self._aborting.flush(30)
        self._aborting.abort_transaction(30)

    def add_partition(self, total: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_partitions([NewPartitions(self.name, total)])[self.name].result(30)

    def _open(self) -> Producer:
        settings = {"bootstrap.servers": self.bootstrap, "transactional.id": uuid.uuid4().hex}
        producer = Producer(settings | {"linger.ms": 0})
        producer.init_transactions(30)
        return producer

    def _commit(
        self, type_: str, payload: bytes, partition: int = 0, age_seconds: float = 0
    ) -> None:
        """In a transaction, as the relay does: its end takes an offset too."""
        self._producer.begin_transaction()
        self._produce(self._producer, type_, payload, partition, age_seconds)
        self._producer.commit_transaction(30)

    def _produce(
        self,
        producer: Producer,
        type_: str,
        payload: bytes,
        partition: int = 0,
        age_seconds: float = 0,
    ) -> None:
        headers = _WRITER.headers(
            event_id=str(uuid.uuid4()),
            type_=f"trackops.identity.v1.{type_}",
            subject="ada",
            time="2026-01-01T00:00:00Z",
            outboxseq=1,
            aggregateversion=1,
            traceparent="",
        )
        producer.produce(
            self.name,
            payload,
            key="ada",
            headers=headers,
            partition=partition,
            timestamp=int((time.time() - age_seconds) * 1000),
        )


class Heard:
    """What the feed has handed over."""

    def __init__(self) -> None:
        self.sessions: list[str] = []
        self.until: set[datetime] = set()

    def __call__(self, session_id: str, /, *, until: datetime) -> None:
        asyncio.get_running_loop()  # it is called where the verifier lives
        self.sessions.append(session_id)
        self.until.add(until)


@pytest.fixture
def topic(kafka: KafkaCluster) -> Topic:
    return Topic(kafka.bootstrap, kafka.topic(partitions=2))


@asynccontextmanager
async def following(
    topic: Topic, heard: Revoke, *, bootstrap: str = "", name: str = ""
) -> AsyncIterator[RevocationFeed]:
    settings = RevocationSettings(
        bootstrap_servers=bootstrap or topic.bootstrap,
        topic=name or topic.name,
        partitions_check_seconds=0.1,
        poll_seconds=0.05,
        pause_seconds=0.05,
    )
    feed = RevocationFeed(settings, heard)
    async with running({"revocations": feed.run}):
        yield feed


async def loaded(feed: RevocationFeed) -> None:
    async with asyncio.timeout(20):
        await feed.loaded()


async def test_what_was_said_before_the_start_is_known_once_it_is_loaded(topic: Topic) -> None:
    heard = Heard()
    for n in range(3):  # one partition ends long before the other
        topic.publish(*(f"{n}/{one}" for one in range(2_000)), partition=1)
    async with following(topic, heard) as feed:
        await loaded(feed)
        assert heard.sessions == [f"{n}/{one}" for n in range(3) for one in range(2_000)]
        assert heard.until == {UNTIL}


async def test_other_events_are_passed_over(topic: Topic) -> None:
    heard = Heard()
    topic.publish_other()
    topic.publish("s1")
    async with following(topic, heard) as feed:
        await loaded(feed)
        assert heard.sessions == ["s1"]


async def test_an_empty_topic_is_loaded_at_once(topic: Topic) -> None:
    heard = Heard()
    async with following(topic, heard) as feed:
        await loaded(feed)
        assert feed.is_loaded
        assert heard.sessions == []


async def test_what_is_said_later_is_heard_too(topic: Topic) -> None:
    heard = Heard()
    async with following(topic, heard) as feed:
        await loaded(feed)
        topic.publish("later")
        await eventually(lambda: heard.sessions == ["later"])


async def test_what_is_older_than_any_token_is_left_alone(topic: Topic) -> None:
    heard = Heard()
    topic.publish("long ago", age_seconds=7200)
    topic.publish("lately", age_seconds=1800)
    topic.publish_plainly("long ago too", partition=1, age_seconds=7200)
    async with following(topic, heard) as feed:
        await loaded(feed)
        assert heard.sessions == ["lately"]
        topic.publish("now", partition=1)
        await eventually(lambda: heard.sessions == ["lately", "now"])


async def test_what_was_never_committed_is_not_heard(topic: Topic) -> None:
    heard = Heard()
    topic.publish_and_abort("never")
    topic.publish("true")
    async with following(topic, heard) as feed:
        await loaded(feed)
        assert heard.sessions == ["true"]


async def test_what_cannot_be_read_is_said_and_the_rest_is_heard(topic: Topic) -> None:
    heard = Heard()
    topic.publish_broken()
    topic.publish("s1")
    with capture_logs() as logs:
        async with following(topic, heard) as feed:
            await loaded(feed)
    assert heard.sessions == ["s1"]
    assert [one["log_level"] for one in logs if "cannot be read" in one["event"]] == ["error"]


async def test_the_tokens_of_an_ended_session_are_refused(topic: Topic) -> None:
    verifier = AccessTokenVerifier(KeySet({}), ManualClock(), issuer="", audience="")
    topic.publish("s1", "s2")
    async with following(topic, verifier.revoke) as feed:
        await loaded(feed)
    assert [verifier.is_revoked(one) for one in ("s1", "s2", "s3")] == [True, True, False]


async def test_a_new_partition_is_read_too(topic: Topic) -> None:
    heard = Heard()
    async with following(topic, heard) as feed:
        await loaded(feed)
        topic.add_partition(3)
        topic.publish("elsewhere", partition=2)
        await eventually(lambda: "elsewhere" in heard.sessions, seconds=20)


async def test_it_is_not_loaded_before_the_topic_is_there(topic: Topic) -> None:
    heard = Heard()
    missing = f"test-{uuid.uuid4().hex}"
    with capture_logs() as logs:
        async with following(topic, heard, name=missing) as feed:
            await eventually(lambda: logs)
            assert not feed.is_loaded
    assert logs[0]["event"] == "will follow revocations again"


async def test_it_is_loaded_once_kafka_is_back(topic: Topic) -> None:
    heard = Heard()
    link = TcpLink(int(topic.bootstrap.rpartition(":")[2]))
    link.cut()
    try:
        async with following(topic, heard, bootstrap=f"127.0.0.1:{link.port}") as feed:
            topic.publish("meanwhile")
            assert not feed.is_loaded
            link.restore()
            await loaded(feed)
            assert heard.sessions == ["meanwhile"]
    finally:
        link.close()


def test_the_look_back_is_longer_than_a_token_lives_and_shorter_than_the_topic_keeps() -> None:
    look_back = timedelta(seconds=RevocationSettings(bootstrap_servers="").look_back_seconds)
    kept = timedelta(milliseconds=int(IDENTITY_EVENTS.config["retention.ms"]))
    assert timedelta(minutes=11) < look_back < kept
