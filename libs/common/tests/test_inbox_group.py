"""Consumers as members of their group: who stays in it, and who takes over from whom."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from trackops_cli.testing import KafkaCluster, wait_for
from trackops_common.database import Database
from trackops_common.errors import TransientError
from trackops_common.inbox import InboxSettings

from .inbox_world import Effects, handled_ids, headers, produce, produce_raw, running

_SHORTEST_SECONDS = 6.0
"""Brokers take no shorter session, and a poll interval is no shorter than the session."""


def members(settings: InboxSettings) -> dict[str, int]:
    """Id of each member of the group, and how many partitions it has; none before it is known."""
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    answers = admin.describe_consumer_groups([settings.consumer], request_timeout=10)
    try:
        found = answers[settings.consumer].result().members
    except KafkaException:  # a broker that has just started has no coordinator yet
        return {}
    return {one.member_id: len(one.assignment.topic_partitions) for one in found}


def _fail_for(seconds: float, effects: Effects) -> Callable[[], object]:
    """Errors for that long; says whether it is over."""
    ends = time.monotonic() + seconds

    def fail() -> None:
        if time.monotonic() < ends:
            raise TransientError("the database is away")

    effects.before_return = fail
    return lambda: time.monotonic() >= ends


def _no_room_for(seconds: float, effects: Effects) -> Callable[[], object]:
    ends = time.monotonic() + seconds
    room = effects.room = Future[None]()

    def over() -> bool:
        if time.monotonic() < ends:
            return False
        if not room.done():
            room.set_result(None)
        return True

    return over


@pytest.mark.parametrize("outage", [_fail_for, _no_room_for])
def test_a_long_outage_costs_no_membership(
    outage: Callable[[float, Effects], Callable[[], object]],
    settings: InboxSettings,
    schema: Database,
    effects: Effects,
) -> None:
    settings = replace(settings, poll_interval_seconds=_SHORTEST_SECONDS)
    produce(settings, ["a"])
    with running(settings, schema, effects) as run:
        handled_ids(effects, run, 1)
        wait_for(lambda: effects.committed, what="the first commit")
        before = members(settings)
        over = outage(1.3 * _SHORTEST_SECONDS, effects)
        produce(settings, ["b"])
        produce(settings, ["c"])
        wait_for(over, what="the end of the outage")
        assert members(settings) == before
        assert handled_ids(effects, run, 3) == ["a", "b", "c"]
        assert list(before.values()) == [2]


def test_a_partition_that_left_while_it_was_paused_is_read_when_it_comes_back(
    settings: InboxSettings, schema: Database, kafka: KafkaCluster
) -> None:
    """A pause belongs to the partition in the client, and outlives its loss."""
    topic = kafka.topic(partitions=4)
    settings = replace(settings, topics=[topic], first_pause_seconds=20, longest_pause_seconds=20)
    first, second = Effects(schema), Effects(schema)
    failed = Event()

    def fail_once() -> None:
        if not failed.is_set():
            failed.set()
            raise TransientError("the database is away")

    def produce_everywhere() -> None:
        for partition in range(4):
            produce_raw(settings, b"", b"k", headers=headers("0"), partition=partition)

    first.before_return = fail_once
    with running(settings, schema, first) as run:
        wait_for(lambda: list(members(settings).values()) == [5], what="the first, with all")
        produce_everywhere()
        assert failed.wait(30)  # from now on it pauses all that it holds
        with running(settings, schema, second):
            wait_for(lambda: sorted(members(settings).values()) == [2, 3], what="both")
            wait_for(lambda: len(first.ids()) == 4, what="the end of the pause")
        wait_for(lambda: list(members(settings).values()) == [5], what="the first, with all again")
        produce_everywhere()
        wait_for(lambda: len(first.ids()) == 8, what="what comes in all partitions")
        assert not run.done()


def test_a_static_member_that_restarts_moves_no_partition_of_others(
    settings: InboxSettings, schema: Database, kafka: KafkaCluster
) -> None:
    topic = kafka.topic(partitions=4)
    settings = replace(settings, topics=[topic], session_seconds=60, instance_id="steady")
    other = replace(settings, instance_id="restarts")
    ours, others = Effects(schema), Effects(schema)
    with running(settings, schema, ours) as run:
        with running(other, schema, others):
            wait_for(lambda: sorted(members(settings).values()) == [2, 3], what="both")
            before = members(settings)
        with capture_logs() as lines:
            for partition in range(4):
                produce_raw(settings, b"", b"k", headers=headers("0"), partition=partition)
            wait_for(lambda: ours.seen, what="the one that stays to read what is its own")
            assert members(settings) == before
            with running(other, schema, others) as again:
                wait_for(lambda: len(ours.ids()) == 4, what="all four, those of both")
                assert not (run.done() or again.done())
        # The one that came back, and it alone.
        assert [line["event"] for line in lines] == ["partitions taken over", "partitions given up"]
    assert 0 < len(ours.seen) < 4


@pytest.fixture
def consumers(
    settings: InboxSettings, schema: Database, schema_url: str, kafka: KafkaCluster
) -> Iterator[Consumers]:
    schema.execute(
        "CREATE TABLE handled (place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " key text, number int, process int)"
    )
    made = Consumers(replace(settings, topics=[kafka.topic(partitions=6)]), schema, schema_url)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


class Consumers:
    """Processes of one group, and what they are sent."""

    def __init__(self, settings: InboxSettings, database: Database, url: str) -> None:
        self._settings = settings
        self._database = database
        self._url = url
        self._sent = 0
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        told = {
            "url": self._url,
            "bootstrap": self._settings.kafka.bootstrap_servers,
            "consumer": self._settings.consumer,
            "topic": self._settings.topics[0],
            "retries": self._settings.dead_letters.retries_topic,
        }
        script = Path(__file__).with_name("inbox_process.py")
        process = subprocess.Popen([sys.executable, str(script), json.dumps(told)])
        self.processes.append(process)
        return process

    def send(self, count: int) -> None:
        """The next messages, numbered, over 20 keys."""
        producer = Producer({"bootstrap.servers": self._settings.kafka.bootstrap_servers})
        for number in range(self._sent, self._sent + count):
            key = f"key-{number % 20}"
            producer.produce(
                self._settings.topics[0], b"", key, headers=headers(str(number), key=key)
            )
        assert producer.flush(20) == 0
        self._sent += count

    def send_until_all_work(self) -> None:
        """A few messages again and again: partitions that just changed hands are read late."""

        def all_work() -> bool:
            self.send(20)
            return len(self.workers()) == len(self.processes)

        wait_for(all_work, what="each of them to handle something")

    def wait_members(self, count: int) -> None:
        """Until there are so many, and each has something to read."""
        wait_for(
            lambda: len(found := members(self._settings)) == count and all(found.values()),
            what=f"{count} members with partitions",
        )

    def count(self) -> int:
        return int(self._database.fetch("SELECT count(*) FROM handled")[0][0])

    def wait_all(self) -> None:
        wait_for(lambda: self.count() >= self._sent, seconds=60, what=f"{self._sent} messages")

    def assert_once_and_in_order(self) -> None:
        rows = self._database.fetch("SELECT key, number FROM handled ORDER BY place")
        assert sorted(number for _, number in rows) == list(range(self._sent))
        by_key: dict[str, list[int]] = defaultdict(list)
        for key, number in rows:
            by_key[key].append(number)
        assert len(by_key) == 20
        assert all(numbers == sorted(numbers) for numbers in by_key.values())

    def workers(self) -> set[int]:
        rows = self._database.fetch("SELECT DISTINCT process FROM handled")
        return {row[0] for row in rows}


@pytest.mark.parametrize("count", [2, 3])
def test_kill_and_pause_lose_nothing_and_double_nothing(consumers: Consumers, count: int) -> None:
    killed, paused, *_ = (consumers.start() for _ in range(count))
    consumers.wait_members(count)
    consumers.send_until_all_work()
    consumers.send(600)
    killed.send_signal(signal.SIGKILL)
    paused.send_signal(signal.SIGSTOP)
    consumers.send(600)
    consumers.wait_members(count - 2)
    if count > 2:
        consumers.wait_all()
    newcomer = consumers.start()  # takes partitions while the paused one believes it has them
    consumers.wait_members(count - 1)
    consumers.send(500)
    paused.send_signal(signal.SIGCONT)
    consumers.wait_members(count)
    consumers.send(600)
    consumers.wait_all()
    assert newcomer.poll() is paused.poll() is None
    assert {process.pid for process in consumers.processes} == consumers.workers()
    consumers.assert_once_and_in_order()
