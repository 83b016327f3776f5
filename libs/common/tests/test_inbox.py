"""The consumer on a real broker and a real database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient

from trackops_cli.testing import wait_for
from trackops_common.assignment import PositionLost, TopicReplaced
from trackops_common.database import Database, Rows
from trackops_common.errors import TransientError
from trackops_common.inbox import InboxSettings
from trackops_common.kafka import topic_ids
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.testing_traces import recording
from trackops_common.topic_setup import ensure_topics
from trackops_common.topics import Topic
from trackops_common.traces import Kind

from .inbox_world import TRACE, Effects, handled_ids, headers, produce, produce_raw, running


def test_each_committed_message_has_its_effect_once(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    produce(settings, ["a", "b"])
    produce(settings, ["aborted"], commit=False)
    produce(settings, ["c"])
    with running(settings, schema, effects) as run:
        assert handled_ids(effects, run, 3) == ["a", "b", "c"]
        wait_for(lambda: effects.committed, what="the hook after the commit")
    produce(settings, ["d"])
    with running(settings, schema, effects) as run:
        assert handled_ids(effects, run, 4) == ["a", "b", "c", "d"]


def test_a_crash_before_the_commit_leaves_nothing_and_loses_nothing(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    produce(settings, ["a", "b", "c"])

    def crash() -> None:
        raise ZeroDivisionError

    effects.before_return = crash
    with running(settings, schema, effects) as run, pytest.raises(ZeroDivisionError):
        run.result(timeout=30)
    assert effects.ids() == []
    effects.before_return = lambda: None
    with running(settings, schema, effects) as run:
        assert handled_ids(effects, run, 3) == ["a", "b", "c"]


def test_transient_errors_run_the_same_messages_again(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    produce(settings, ["a", "b", "c"])
    failed: list[int] = []

    def fail_a_few_times() -> None:
        if len(failed) < 3:
            failed.append(1)
            raise TransientError("a deadlock")

    effects.before_return = fail_a_few_times
    with running(settings, schema, effects) as run:
        wait_for(lambda: failed, what="the first failure")
        produce(settings, ["d"])
        assert handled_ids(effects, run, 4) == ["a", "b", "c", "d"]
    assert len(failed) == 3


def test_an_owner_whose_position_was_moved_goes_where_it_was_moved_to(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    produce(settings, ["a"])
    with running(settings, schema, effects) as run:
        handled_ids(effects, run, 1)
        wait_for(lambda: effects.committed)
        # Offset 1 is the transaction's marker: another owner has handled 2 (b) and 3 (c).
        _move(schema, settings, 4)
        produce(settings, ["b", "c", "d"])
        assert handled_ids(effects, run, 2) == ["a", "d"]
        assert schema.fetch("SELECT max(next_offset) FROM consumer_offsets")[0][0] == 5


def _move(schema: Database, settings: InboxSettings, next_offset: int) -> None:
    schema.execute(
        "UPDATE consumer_offsets SET next_offset = %(to)s WHERE topic = %(topic)s",
        {"to": next_offset, "topic": settings.topics[0]},
    )


def test_a_topic_that_was_made_again_stops_the_consumer(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    produce(settings, ["a"])
    with running(settings, schema, effects) as run:
        handled_ids(effects, run, 1)
    _make_again(settings.kafka.bootstrap_servers, settings.topics[0])
    produce(settings, ["b", "c"])
    with (
        running(settings, schema, effects) as run,
        pytest.raises(TopicReplaced, match=settings.topics[0]),
    ):
        run.result(timeout=30)
    assert effects.ids() == ["a"]


def _make_again(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    first_id = topic_ids(admin, [topic])
    admin.delete_topics([topic])[topic].result(10)

    def made() -> bool:
        ensure_topics(KafkaAccess(bootstrap), [Topic(topic, partitions=1)])
        try:
            return topic_ids(admin, [topic]) != first_id
        except TransientError:
            return False

    wait_for(made, what="the topic")


def test_a_position_that_the_log_does_not_hold_stops_the_consumer(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    produce(settings, ["a"])
    with running(settings, schema, effects) as run:
        handled_ids(effects, run, 1)
    _move(schema, settings, 1000)
    with running(settings, schema, effects) as run, pytest.raises(PositionLost):
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


@pytest.mark.parametrize("instance_id", ["", "steady"])
def test_a_database_that_is_away_at_assignment_skips_nothing(
    settings: InboxSettings,
    schema: Database,
    effects: Effects,
    schema_url: str,
    instance_id: str,
) -> None:
    settings = replace(settings, instance_id=instance_id)
    produce(settings, ["a", "b"])
    away = _AwayAtFirst(schema_url)
    try:
        with running(settings, away, effects) as run:
            assert handled_ids(effects, run, 2) == ["a", "b"]
    finally:
        away.close()
    assert away.failures == 0


def test_a_batch_has_a_span_with_links_to_what_caused_its_messages(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    other = TRACE.replace("b7ad", "c7ad")
    for id_, trace in (("a", TRACE), ("b", ""), ("c", other), ("d", "00-x-y-01")):
        produce_raw(settings, b"", b"key", headers=headers(id_, traceparent=trace))
    with recording() as spans, running(settings, schema, effects) as run:
        assert handled_ids(effects, run, 4) == ["a", "b", "c", "d"]
        name = f"process {settings.topics[0]}"
        wait_for(
            lambda: {link for one in spans.named(name) for link in one.links} == {TRACE, other}
        )
    first = spans.named(name)[0]
    assert first.kind is Kind.CONSUMER
    assert first.parent == TRACE
    assert first.attributes["messaging.consumer.group.name"] == settings.consumer
    transactions = [one for one in spans.ended if one.name.startswith("TRANSACTION")]
    assert first.traceparent in {one.parent for one in transactions}
