"""`trackops deadletters`, against a real broker and a real consumer."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from trackops_cli.main import app
from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import KafkaCluster, wait_for
from trackops_common.database import Database, Transaction
from trackops_common.envelope import HeaderWriter
from trackops_common.inbox import (
    DeadLetterPolicy,
    Handled,
    Inbox,
    InboxSettings,
    InvalidMessage,
    Message,
)
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.partitions import maintain_outbox

_ROLE = "trackops_saga_orchestrator"
_WRITER = HeaderWriter("trackops_order")


@dataclass
class Consumer:
    """Refuses what it is told to; its dead letters are where the relay would put them."""

    settings: InboxSettings
    database: Database
    refused: set[str] = field(default_factory=set)
    handled: list[Message] = field(default_factory=list)

    def send(self, *ids: str) -> None:
        producer = Producer({"bootstrap.servers": self.settings.kafka.bootstrap_servers})
        for id_ in ids:
            producer.produce(self.settings.topics[0], b"v", id_, headers=_headers(id_))
        assert producer.flush(20) == 0

    @contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(Inbox(self.settings, self.database, self._handle).run, stop)
            try:
                yield
            finally:
                stop.set()
            run.result()

    def _handle(self, _: Transaction, messages: Sequence[Message]) -> Handled:
        for message in messages:
            if message.id in self.refused:
                raise InvalidMessage(message, f"[red]{message.id}")
        self.handled += messages
        return Handled()

    def until_handled(self, count: int) -> list[str]:
        wait_for(lambda: len(self.handled) >= count, what=f"{count} messages")
        return [message.id for message in self.handled]

    def relay(self, count: int) -> None:
        """Publish the outbox once it holds so many."""
        rows = "SELECT topic, key, payload, event_id::text FROM outbox ORDER BY seq"
        wait_for(lambda: len(self.database.fetch(rows)) == count, what=f"{count} dead letters")
        producer = Producer({"bootstrap.servers": self.settings.kafka.bootstrap_servers})
        for topic, key, payload, id_ in self.database.fetch(rows):
            producer.produce(topic, bytes(payload), key, headers=_headers(id_))
        assert producer.flush(20) == 0
        self.database.execute("DELETE FROM outbox")


def _headers(id_: str) -> Any:
    return _WRITER.headers(
        event_id=id_,
        type_="t",
        subject=id_,
        time="2026-11-23T10:00:00Z",
        outboxseq=1,
        aggregateversion=1,
        traceparent="",
    )


@pytest.fixture
def consumer(
    database: FreshDatabase, kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Consumer]:
    monkeypatch.setenv("TRACKOPS_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setattr("trackops_cli.dead_letter_log._TOPIC_SUFFIX", f".{uuid.uuid4().hex}")
    from trackops_cli.dead_letter_log import _TOPIC_SUFFIX
    from trackops_common.topic_setup import ensure_topics
    from trackops_common.topics import Topic

    dead = Topic(f"trackops.test{_TOPIC_SUFFIX}", partitions=2)
    ensure_topics(KafkaAccess(kafka.bootstrap), [dead])
    settings = InboxSettings(
        kafka=KafkaAccess(kafka.bootstrap),
        consumer=f"test-{uuid.uuid4().hex}",
        topics=[kafka.topic()],
        dead_letters=DeadLetterPolicy(topic=dead.name, retries_topic=kafka.topic()),
        poll_seconds=0.05,
    )
    made = Database(database.url(_ROLE), application_name="test")
    maintain_outbox(made)
    yield Consumer(settings, made)
    made.close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["deadletters", *arguments])


def listed(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("list", "--json", *arguments).stdout.splitlines()]


def test_what_is_replayed_goes_to_its_consumer_once(consumer: Consumer) -> None:
    consumer.refused = {"x", "y"}
    consumer.send("a", "x", "b", "y")
    with consumer.running():
        consumer.relay(2)
        assert consumer.until_handled(2) == ["a", "b"]
        first, second = listed()
        assert [first["offset"], second["offset"]] == ["1", "3"]
        assert (first["problem"], first["key"], first["value"]) == ("[red]x", "eA==", "dg==")

        consumer.refused = {"y"}
        sent = run("replay", "--reason", "fixed", "--id", first["deadLetterId"])
        assert (sent.exit_code, sent.stderr) == (0, "trackops: 1 replayed\n")
        assert consumer.until_handled(3) == ["a", "b", "x"]
        assert [one["deadLetterId"] for one in listed()] == [second["deadLetterId"]]
        assert len(listed("--replayed")) == 2

        consumer.refused = set()
        sent = run("replay", "--reason", "all", "--consumer", consumer.settings.consumer)
        assert sent.stderr == "trackops: 1 replayed, 1 were before\n"
        sent = run("replay", "--reason", "all", "--topic", consumer.settings.topics[0], "--again")
        assert sent.stderr == "trackops: 2 replayed\n"
        consumer.send("c")
        consumer.until_handled(5)
        _wait_read(consumer, 4)
    assert sorted(message.id for message in consumer.handled) == ["a", "b", "c", "x", "y"]
    assert {message.value for message in consumer.handled} == {b"v"}
    reasons = "SELECT replay_reason FROM dead_letters ORDER BY message_offset"
    assert [row[0] for row in consumer.database.fetch(reasons)] == ["fixed", "all"]


def _wait_read(consumer: Consumer, retries: int) -> None:
    position = "SELECT next_offset FROM consumer_offsets WHERE topic = %(topic)s"
    topic = {"topic": consumer.settings.dead_letters.retries_topic}
    wait_for(lambda: consumer.database.fetch(position, topic)[0][0] == retries, what="retries")


def test_a_place_selects_one_and_filters_select(consumer: Consumer) -> None:
    consumer.refused = {"x", "y"}
    consumer.send("x", "y")
    topic = consumer.settings.topics[0]
    with consumer.running():
        consumer.relay(2)
        place = ("--topic", topic, "--partition", "0", "--offset", "1")
        assert run("replay", "--reason", "r", *place).stderr == "trackops: 1 replayed\n"
        consumer.relay(1)  # it is refused again, and a dead letter again
    letters = listed("--replayed")
    assert [one["offset"] for one in letters if "replayOf" in one] == ["1"]
    assert len(letters) == 3
    assert listed("--topic", "other") == listed("--consumer", "other") == []
    assert len(listed("--topic", topic, "--consumer", consumer.settings.consumer)) == 2
    table = run("list")
    assert table.exit_code == 0
    assert "2 dead letters, and 1 replayed" in table.stderr


def test_a_replay_needs_a_selection_a_reason_and_ids_that_exist(consumer: Consumer) -> None:
    nothing = run("replay", "--reason", "r")
    assert (nothing.exit_code, nothing.stderr.count("\n")) == (1, 1)
    assert "--consumer" in nothing.stderr
    unknown = run("replay", "--reason", "r", "--id", "0b7e")
    assert (unknown.exit_code, unknown.stderr) == (1, "trackops: there is no dead letter 0b7e\n")
    assert run("replay", "--topic", "t").exit_code == 2


def test_a_broker_that_is_away_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKOPS_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("trackops_cli.dead_letter_log._REQUEST_SECONDS", 0.5)
    failed = run("list")
    assert failed.exit_code == 1
    assert "trackops: Kafka at 127.0.0.1:1: " in failed.stderr
