"""Nothing left is 0, whatever offsets the markers of transactions take."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import replace

from trackops_cli.testing import wait_for
from trackops_common.database import Database
from trackops_common.inbox import InboxSettings
from trackops_common.inbox_lag import InboxLag, PartitionLag

from .inbox_world import Effects, handled_ids, produce, running

PARTITION = ("topic", 0)


def _statistics(*, end: int, fetched: int, queued: int = 0) -> str:
    part = {
        "partition": 0,
        "ls_offset": end,
        "next_offset": fetched,
        "fetchq_cnt": queued,
    }
    nobody = part | {"partition": -1}
    return json.dumps({"topics": {"topic": {"partitions": {"0": part, "-1": nobody}}}})


class _Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _left(lag: InboxLag) -> PartitionLag:
    assert list(lag.partitions) == [PARTITION]
    return lag.partitions[PARTITION]


def test_a_marker_behind_the_last_message_is_nothing_left() -> None:
    lag = InboxLag(_Time())

    lag.told(_statistics(end=11, fetched=11), {PARTITION: 10})

    assert _left(lag) == PartitionLag(0, 0)


def test_what_is_not_fetched_or_not_handed_out_or_not_handled_is_left() -> None:
    lag = InboxLag(_Time())

    lag.told(_statistics(end=20, fetched=11), {PARTITION: 10})
    assert _left(lag).messages == 10

    lag.told(_statistics(end=20, fetched=20, queued=3), {PARTITION: 10})
    assert _left(lag).messages == 10

    lag.taken({PARTITION: 19})
    lag.told(_statistics(end=20, fetched=20), {PARTITION: 10})
    assert _left(lag).messages == 10

    lag.handled({PARTITION: 900}, {PARTITION: 19})
    lag.told(_statistics(end=20, fetched=20), {PARTITION: 19})
    assert _left(lag).messages == 0


def test_the_age_counts_from_the_last_message_handled_or_the_last_time_nothing_was_left() -> None:
    time = _Time()
    lag = InboxLag(time)
    lag.told(_statistics(end=10, fetched=10), {PARTITION: 10})

    time.now += 100  # idle
    lag.told(_statistics(end=10, fetched=10), {PARTITION: 10})
    time.now += 5
    lag.told(_statistics(end=20, fetched=12), {PARTITION: 10})
    assert _left(lag) == PartitionLag(10, 5)

    time.now += 60
    assert _left(lag) == PartitionLag(10, 65)

    lag.handled({PARTITION: time.now - 20}, {PARTITION: 15})
    assert _left(lag) == PartitionLag(5, 20)


def test_what_comes_while_the_client_fetches_nothing_is_left_too() -> None:
    time = _Time()
    lag = InboxLag(time)
    lag.told(_statistics(end=10, fetched=10), {PARTITION: 10})

    time.now += 5
    lag.looked({PARTITION: 14, ("another", 0): 3}, {PARTITION: 10})
    assert _left(lag) == PartitionLag(4, 5)

    time.now += 5
    lag.told(_statistics(end=10, fetched=10), {PARTITION: 10})
    assert _left(lag) == PartitionLag(4, 10)

    lag.told(_statistics(end=14, fetched=14), {PARTITION: 14})
    assert _left(lag).messages == 0


def test_a_partition_that_was_given_up_is_told_of_no_more() -> None:
    lag = InboxLag(_Time())
    lag.told(_statistics(end=11, fetched=11), {PARTITION: 10})

    lag.told(_statistics(end=11, fetched=11), {})

    assert lag.partitions == {}


class _Room(Future[None]):
    """A consumer that asks a third time whether it is done has paused its client before."""

    asked = 0

    def done(self) -> bool:
        self.asked += 1
        return super().done()


def test_a_consumer_that_holds_back_is_behind_and_then_is_not(
    settings: InboxSettings, schema: Database, effects: Effects
) -> None:
    settings = replace(settings, max_batch=2)
    (topic,) = settings.topics
    lag = InboxLag(every_seconds=0.1)

    def left() -> int | None:
        found = lag.partitions.get((topic, 0))
        return None if found is None else found.messages

    produce(settings, ["a", "b"])
    produce(settings, ["aborted"], commit=False)
    with running(settings, schema, effects, lag=lag) as run:
        handled_ids(effects, run, 2)
        wait_for(lambda: left() == 0, what="nothing left, behind two markers and an abort")
        effects.room = room = _Room()
        produce(settings, ["c"])
        handled_ids(effects, run, 3)
        wait_for(lambda: room.asked > 2, what="a consumer that fetches nothing")
        wait_for(lambda: left() == 0, what="nothing left when it began to hold back")
        produce(settings, ["d"])
        produce(settings, ["e"])
        # A fetch that was under way may have brought the one, never the other.
        wait_for(lambda: left() == 5, what="two events and three markers")
        assert lag.partitions[topic, 0].seconds > 0
        room.set_result(None)
        effects.room = None
        handled_ids(effects, run, 5)
        wait_for(lambda: left() == 0, what="nothing left again")
