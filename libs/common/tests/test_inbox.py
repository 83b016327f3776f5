"""The consumer on a real broker and a real database."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from trackops_cli.local.topics import ensure_topics
from trackops_cli.testing import Database as MigratedDatabase
from trackops_cli.testing import KafkaCluster, wait_for
from trackops_common.assignment import PositionLost, TopicReplaced
from trackops_common.database import Database, Rows, Transaction
from trackops_common.envelope import HeaderWriter
from trackops_common.errors import TransientError
from trackops_common.inbox import Handled, Handler, Inbox, InboxSettings, InvalidMessage, Message
from trackops_common.kafka import topic_ids
from trackops_common.migrations.tables import CONSUMER_OFFSETS_V1
from trackops_common.topics import Topic

_ROLE = "trackops_order"
_WRITER = HeaderWriter("trackops_order")


class Effects:
    """A handler whose effect is a row for each message."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.before_return: Callable[[], None] = lambda: None
        self.committed = 0

    def __call__(self, transaction: Transaction, messages: Sequence[Message]) -> Handled:
        for message in messages:
            transaction.execute(
                "INSERT INTO effects VALUES (%(partition)s, %(id)s)",
                {"partition": message.partition, "id": message.id},
            )
        self.before_return()
        return Handled(after_commit=self._count)

    def _count(self) -> None:
        self.committed += 1

    def ids(self) -> list[str]:
        return [row[0] for row in self._database.fetch("SELECT id FROM effects ORDER BY place")]


@pytest.fixture
def url(database: MigratedDatabase) -> str:
    return database.url(_ROLE)


@pytest.fixture
def schema(url: str) -> Iterator[Database]:
    opened = Database(url, application_name="test")
    opened.execute(CONSUMER_OFFSETS_V1)
    opened.execute(
        "CREATE TABLE effects (partition int, id text,"
        " place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)"
    )
    yield opened
    opened.close()


@pytest.fixture
def effects(schema: Database) -> Effects:
    return Effects(schema)


@pytest.fixture
def settings(kafka: KafkaCluster) -> InboxSettings:
    return InboxSettings(
        bootstrap_servers=kafka.bootstrap,
        consumer=f"test-{uuid.uuid4().hex}",
        topics=[kafka.topic()],
        poll_seconds=0.05,
        longest_pause_seconds=0.2,
    )


def _produce(settings: InboxSettings, ids: Sequence[str], *, commit: bool = True) -> None:
    producer = Producer(
        {
            "bootstrap.servers": settings.bootstrap_servers,
            "transactional.id": f"{settings.topics[0]}-writer",
        }
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    for id_ in ids:
        producer.produce(settings.topics[0], b"payload", "key", headers=_headers(id_))
    producer.flush(10)
    if commit:
        producer.commit_transaction(10)
    else:
        producer.abort_transaction(10)


def _headers(id_: str) -> list[tuple[str, str | bytes | None]]:
    return _WRITER.headers(
        event_id=id_,
        type_="t",
        subject="key",
        time="2026-11-23T10:00:00Z",
        outboxseq=1,
        aggregateversion=1,
        traceparent="",
    )


@contextmanager
def _running(
    settings: InboxSettings, database: Database, handler: Handler
) -> Iterator[Future[None]]:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(Inbox(settings, database, handler).run, stop)
        try:
            yield run
        finally:
            stop.set()


def _handled(effects: Effects, run: Future[None], count: int) -> list[str]:
    """The effects once there are `count`, and a little more would have had time to appear."""

    def enough() -> bool:
        if run.done():
            run.result()
        return len(effects.ids()) >= count

    wait_for(enough, what=f"{count} effects")
    return effects.ids()


def test_each_committed_message_has_its_effect_once(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    _produce(settings, ["a", "b"])
    _produce(settings, ["aborted"], commit=False)
    _produce(settings, ["c"])
    with _running(settings, schema, effects) as run:
        assert _handled(effects, run, 3) == ["a", "b", "c"]
        wait_for(lambda: effects.committed, what="the hook after the commit")
    _produce(settings, ["d"])
    with _running(settings, schema, effects) as run:
        assert _handled(effects, run, 4) == ["a", "b", "c", "d"]


def test_a_crash_before_the_commit_leaves_nothing_and_loses_nothing(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    _produce(settings, ["a", "b", "c"])

    def crash() -> None:
        raise ZeroDivisionError

    effects.before_return = crash
    with _running(settings, schema, effects) as run, pytest.raises(ZeroDivisionError):
        run.result(timeout=30)
    assert effects.ids() == []
    effects.before_return = lambda: None
    with _running(settings, schema, effects) as run:
        assert _handled(effects, run, 3) == ["a", "b", "c"]


def test_transient_errors_run_the_same_messages_again(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    _produce(settings, ["a", "b", "c"])
    failed: list[int] = []

    def fail_a_few_times() -> None:
        if len(failed) < 3:
            failed.append(1)
            raise TransientError("a deadlock")

    effects.before_return = fail_a_few_times
    with _running(settings, schema, effects) as run:
        wait_for(lambda: failed, what="the first failure")
        _produce(settings, ["d"])
        assert _handled(effects, run, 4) == ["a", "b", "c", "d"]
    assert len(failed) == 3


def test_an_owner_whose_position_was_moved_goes_where_it_was_moved_to(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    _produce(settings, ["a"])
    with _running(settings, schema, effects) as run:
        _handled(effects, run, 1)
        wait_for(lambda: effects.committed)
        # Offset 1 is the transaction's marker: another owner has handled 2 (b) and 3 (c).
        schema.execute("UPDATE consumer_offsets SET next_offset = 4")
        _produce(settings, ["b", "c", "d"])
        assert _handled(effects, run, 2) == ["a", "d"]
        assert schema.fetch("SELECT next_offset FROM consumer_offsets")[0][0] == 5


def test_a_topic_that_was_made_again_stops_the_consumer(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    _produce(settings, ["a"])
    with _running(settings, schema, effects) as run:
        _handled(effects, run, 1)
    _make_again(settings.bootstrap_servers, settings.topics[0])
    _produce(settings, ["b", "c"])
    with (
        _running(settings, schema, effects) as run,
        pytest.raises(TopicReplaced, match=settings.topics[0]),
    ):
        run.result(timeout=30)
    assert effects.ids() == ["a"]


def _make_again(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    first_id = topic_ids(admin, [topic])
    admin.delete_topics([topic])[topic].result(10)

    def made() -> bool:
        ensure_topics(bootstrap, [Topic(topic, partitions=1)])
        try:
            return topic_ids(admin, [topic]) != first_id
        except TransientError:
            return False

    wait_for(made, what="the topic")


def test_a_position_that_the_log_does_not_hold_stops_the_consumer(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    _produce(settings, ["a"])
    with _running(settings, schema, effects) as run:
        _handled(effects, run, 1)
    schema.execute("UPDATE consumer_offsets SET next_offset = 1000")
    with _running(settings, schema, effects) as run, pytest.raises(PositionLost):
        run.result(timeout=30)


def test_a_message_without_an_envelope_stops_the_consumer_before_it(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
    producer.produce(settings.topics[0], b"?")
    producer.flush(10)
    with (
        _running(settings, schema, effects) as run,
        pytest.raises(InvalidMessage, match=r"\[0\]@0"),
    ):
        run.result(timeout=30)


class _AwayAtFirst(Database):
    """Does not answer the first few queries."""

    def __init__(self, url: str) -> None:
        super().__init__(url, application_name="test")
        self.failures = 2

    def fetch(self, sql: str, parameters: object = None) -> Rows:
        if self.failures:
            self.failures -= 1
            raise TransientError("no connection")
        return super().fetch(sql, parameters)  # type: ignore[arg-type]


def test_a_database_that_is_away_at_assignment_skips_nothing(
    settings: InboxSettings, schema: Database, effects: Effects, url: str
) -> None:
    _produce(settings, ["a", "b"])
    away = _AwayAtFirst(url)
    try:
        with _running(settings, away, effects) as run:
            assert _handled(effects, run, 2) == ["a", "b"]
    finally:
        away.close()
    assert away.failures == 0
