"""What a consumer cannot act on, on a real broker and a real database."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace

import pytest
from trackops.common.v1.dead_letter_pb2 import DeadLetter, DeadLetterReason, Replay
from trackops.order.v1.order_events_pb2 import OrderPlaced

from trackops_cli.testing import wait_for
from trackops_common.database import Database
from trackops_common.dead_letters import DeadLetterBudgetExceeded, waiting
from trackops_common.errors import BatchRefused, StartRefused
from trackops_common.inbox import InboxSettings, InvalidMessage, Message
from trackops_common.messages import REPLAY_HEADER

from .inbox_world import TRACE, Effects, handled_ids, headers, produce, produce_raw, running


def letters(schema: Database, count: int = 1, run: Future[None] | None = None) -> list[DeadLetter]:
    """The dead letters in the outbox, once there are `count`."""

    def rows() -> Sequence[bytes]:
        if run is not None and run.done():
            run.result()
        return [row[0] for row in schema.fetch("SELECT payload FROM outbox ORDER BY seq")]

    wait_for(lambda: len(rows()) >= count, what=f"{count} dead letters")
    return [DeadLetter.FromString(bytes(row)) for row in rows()]


def refusing(*ids: str) -> Callable[[Message], None]:
    def check(message: Message) -> None:
        if message.id in ids:
            raise InvalidMessage(message, "makes no sense")

    return check


def send_back(settings: InboxSettings, letter: DeadLetter, consumer: str | None = None) -> None:
    replay = Replay(
        dead_letter_id=letter.dead_letter_id,
        consumer=consumer or settings.consumer,
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        reason="fixed",
    )
    produce_raw(
        settings,
        letter.value,
        letter.key,
        headers=[
            *((one.name, one.value) for one in letter.headers),
            (REPLAY_HEADER, replay.SerializeToString()),
        ],
        topic=settings.dead_letters.retries_topic,
    )


def test_a_message_without_an_envelope_leaves_whole_and_the_rest_flows(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    produce(settings, ["a"])
    odd = [("x", b"\xff\x00"), ("x", None), ("ce_id", b"1")]
    offset = produce_raw(settings, b"\x00\xff?", b"\xfekey", headers=odd)
    produce(settings, ["b"])
    with running(settings, schema, effects) as run:
        assert handled_ids(effects, run, 2) == ["a", "b"]
    (letter,) = letters(schema)
    assert (letter.topic, letter.partition, letter.offset) == (settings.topics[0], 0, offset)
    assert (letter.key, letter.value) == (b"\xfekey", b"\x00\xff?")
    assert [(one.name, one.value if one.HasField("value") else None) for one in letter.headers] == (
        odd
    )
    assert letter.reason == DeadLetterReason.DEAD_LETTER_REASON_ENVELOPE
    assert (letter.consumer, letter.retries_topic) == (
        settings.consumer,
        settings.dead_letters.retries_topic,
    )
    assert "ce_specversion is missing" in letter.problem
    row = schema.fetch("SELECT event_id::text, topic, key, type FROM outbox")[0]
    assert tuple(row) == (
        letter.dead_letter_id,
        "dead",
        "\\xfekey",
        "trackops.common.v1.DeadLetter",
    )


def test_no_key_and_no_value_stay_apart_from_empty_ones(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    produce_raw(settings, None)
    produce_raw(settings, b"", b"")
    with running(settings, schema, effects) as run:
        absent, empty = letters(schema, 2, run)
    assert (absent.HasField("key"), absent.HasField("value")) == (False, False)
    assert (empty.HasField("key"), empty.HasField("value")) == (True, True)


def test_what_the_handler_calls_invalid_leaves_alone_and_the_others_keep_their_order(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    produce(settings, ["a", "bad", "b", "worse", "c"])
    effects.check = refusing("bad", "worse")
    with running(settings, schema, effects) as run:
        assert handled_ids(effects, run, 3) == ["a", "b", "c"]
        found = letters(schema, 2, run)
    assert [letter.offset for letter in found] == [1, 3]
    assert {letter.problem for letter in found} == {"makes no sense"}
    assert {letter.reason for letter in found} == {DeadLetterReason.DEAD_LETTER_REASON_INVALID}
    assert len({message.id for message in effects.seen}) == len(effects.seen) == 3


def test_a_value_that_is_no_message_of_its_type_is_invalid(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    def parse(message: Message) -> None:
        message.parse(OrderPlaced)

    effects.check = parse
    produce(settings, ["a"])  # "payload" is no protobuf
    with running(settings, schema, effects) as run:
        (letter,) = letters(schema, 1, run)
    assert "the value is no trackops.order.v1.OrderPlaced" in letter.problem
    assert effects.ids() == []


def test_a_message_that_the_database_refuses_is_found_and_leaves_alone(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    schema.execute("ALTER TABLE effects ADD CHECK (id <> 'poison')")
    produce(settings, ["a", "b", "c", "poison", "d", "e", "f"])
    with running(settings, schema, effects) as run:
        assert handled_ids(effects, run, 6) == ["a", "b", "c", "d", "e", "f"]
        (letter,) = letters(schema, 1, run)
    assert (letter.offset, letter.reason) == (3, DeadLetterReason.DEAD_LETTER_REASON_REFUSED)
    assert "effects_id_check" in letter.problem


def test_a_refusal_of_the_dead_letter_itself_stops_the_consumer(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    schema.execute("ALTER TABLE dead_letters ADD CHECK (partition < 0)")
    produce_raw(settings, b"?")
    with running(settings, schema, effects) as run, pytest.raises(BatchRefused):
        run.result(timeout=30)


def test_a_dead_letter_and_the_position_commit_together(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    def crash() -> None:
        raise ZeroDivisionError

    produce(settings, ["bad", "a"])
    effects.check, effects.before_return = refusing("bad"), crash
    with running(settings, schema, effects) as run, pytest.raises(ZeroDivisionError):
        run.result(timeout=30)
    assert schema.fetch("SELECT FROM outbox") == schema.fetch("SELECT FROM dead_letters") == []
    effects.before_return = lambda: None
    for _ in range(2):  # the second run finds nothing more to do
        with running(settings, schema, effects) as run:
            assert handled_ids(effects, run, 1) == ["a"]
            assert len(letters(schema, 1, run)) == 1


def test_more_than_the_budget_stops_the_consumer_and_nothing_of_the_last_batch_is_done(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    produce(settings, ["a", "x1", "x2", "x3", "x4", "b"])
    effects.check = refusing("x1", "x2", "x3", "x4")
    with running(settings, schema, effects) as run:
        with pytest.raises(DeadLetterBudgetExceeded) as stopped:
            run.result(timeout=30)
        assert (stopped.value.partition, stopped.value.offset) == (0, 4)
        assert re.search(r"\[0\].* offset 4 .*makes no sense", str(stopped.value))
        assert "TRACKOPS_DEAD_LETTER_LIMIT" in str(stopped.value)
        assert isinstance(stopped.value, StartRefused)
    assert effects.ids() == []
    assert schema.fetch("SELECT FROM outbox") == []
    effects.check = refusing("x1", "x2", "x3")  # deploy what reads most of them
    with running(settings, schema, effects) as run:
        assert handled_ids(effects, run, 3) == ["a", "x4", "b"]
        assert len(letters(schema, 3, run)) == 3


def test_the_budget_is_remembered_over_restarts_and_forgets_old_messages(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    effects.check = refusing(*(f"x{number}" for number in range(10)))
    for number in range(3):  # offsets 0, 2, 4: each transaction has a marker
        produce(settings, [f"x{number}"])
        with running(settings, schema, effects) as run:
            letters(schema, number + 1, run)
    produce(settings, ["x3"])  # 6, so four of 0..7
    with running(settings, schema, effects) as run, pytest.raises(DeadLetterBudgetExceeded):
        run.result(timeout=30)
    assert len(letters(schema, 3)) == 3
    effects.check = refusing("x4")
    produce(settings, ["a", "x4"])  # 8 and 9: of 2..9, three are dead with this one
    with running(settings, schema, effects) as run:
        assert handled_ids(effects, run, 2) == ["x3", "a"]
        assert len(letters(schema, 4, run)) == 4


def test_a_replay_is_acted_on_once_however_often_it_is_sent(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    produce(settings, ["bad", "a"])
    effects.check = refusing("bad")
    with running(settings, schema, effects) as run:
        (letter,) = letters(schema, 1, run)
    assert (waiting(schema, settings.consumer), waiting(schema, "another")) == (1, 0)
    send_back(settings, letter, consumer="another")  # the name is told, the row decides
    send_back(settings, letter)
    effects.check = lambda _: None
    with running(settings, schema, effects) as run:
        assert handled_ids(effects, run, 2) == ["a", "bad"]
        send_back(settings, letter)
        produce(settings, ["b"])
        assert handled_ids(effects, run, 3) == ["a", "bad", "b"]
    replayed = next(message for message in effects.seen if message.id == "bad")
    assert replayed.replay_of == uuid.UUID(letter.dead_letter_id)
    assert (replayed.topic, replayed.offset) == (settings.topics[0], 0)
    row = schema.fetch("SELECT replay_reason, replay_time IS NOT NULL FROM dead_letters")[0]
    assert tuple(row) == ("fixed", True)
    assert len(letters(schema)) == 1
    assert waiting(schema, settings.consumer) == 0


def test_a_replay_of_another_consumers_dead_letter_is_left_alone(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    produce(settings, ["bad"])
    effects.check = refusing("bad")
    with running(settings, schema, effects) as run:
        (letter,) = letters(schema, 1, run)
    other = replace(settings, consumer=f"{settings.consumer}-other", topics=[settings.topics[0]])
    send_back(settings, letter)
    effects.check = lambda _: None
    with running(other, schema, effects) as run:
        # It reads the topic from its begin for itself, and the replay not at all.
        assert handled_ids(effects, run, 1) == ["bad"]
        wait_for(lambda: _position(schema, other) == 1, what="the replay to be read")
        assert effects.ids() == ["bad"]
        assert effects.seen[0].replay_of is None


def _position(schema: Database, settings: InboxSettings) -> int:
    rows = schema.fetch(
        "SELECT next_offset FROM consumer_offsets WHERE consumer = %(consumer)s AND topic = %(t)s",
        {"consumer": settings.consumer, "t": settings.dead_letters.retries_topic},
    )
    return int(rows[0][0]) if rows else -1


def test_a_replay_that_fails_again_is_a_dead_letter_of_its_own_outside_the_budget(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    ids = ["x0", "x1", "x2"]
    produce(settings, ids)
    effects.check = refusing(*ids)
    with running(settings, schema, effects) as run:
        first = letters(schema, 3, run)
        for total in (6, 9):
            for letter in letters(schema)[-3:]:
                send_back(settings, letter)
            letters(schema, total, run)
    again = letters(schema, 9)[3:6]
    assert [one.replay_of for one in again] == [one.dead_letter_id for one in first]
    assert [one.offset for one in again] == [one.offset for one in first]
    assert [one.topic for one in again] == [settings.topics[0]] * 3
    assert [list(one.headers) for one in again] == [list(one.headers) for one in first]


def test_anything_else_on_the_retries_topic_is_a_dead_letter(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    retries = settings.dead_letters.retries_topic
    produce_raw(settings, b"payload", b"key", headers=headers("a"), topic=retries)
    with running(settings, schema, effects) as run:
        (letter,) = letters(schema, 1, run)
    assert (letter.topic, letter.reason) == (retries, DeadLetterReason.DEAD_LETTER_REASON_ENVELOPE)
    assert effects.ids() == []


def test_the_trace_of_the_request_goes_on_with_the_dead_letter(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    effects.check = refusing("a")
    produce_raw(settings, b"?", b"key", headers=headers("a", traceparent=TRACE))
    with running(settings, schema, effects) as run:
        letters(schema, 1, run)
    assert schema.fetch("SELECT traceparent FROM outbox")[0][0] == TRACE
