"""Relays under fire: what was committed to the outboxes reaches a consumer once and in order.

A few rounds in the ordinary suite; `make chaos` runs twenty, and the rate that
TRACKOPS_CHAOS_RATE names. Restarting the broker is left to `make chaos`: after
two of some fifteen restarts nothing arrived any more, for a reason that is not
found (docs/outbox.md, "Nothing arrives"). The last lines of every relay are
printed when something is amiss.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import astuple, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from trackops_cli.local.mesh import is_serving
from trackops_cli.local.ports import Ports
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import Database as MigratedDatabase
from trackops_cli.testing import KafkaCluster, wait_for
from trackops_common import envelope
from trackops_common.database import Database
from trackops_common.partitions import maintain_outbox
from trackops_common.testing import TcpLink
from trackops_outbox_relay.settings import RelaySettings
from trackops_outbox_relay.testing import RelayBench

SOURCES = ("trackops_order", "trackops_inventory", "trackops_payment", "trackops_saga_orchestrator")
PARTITIONS = 3
ROUNDS = int(os.environ.get("TRACKOPS_CHAOS_ROUNDS", "4"))
RATE = float(os.environ.get("TRACKOPS_CHAOS_RATE", "600"))
"""Events a second, over all sources."""
EVENTS_A_COMMIT = 10
SETTLE_SECONDS = 12.0
"""A kill is noticed after the session's 6 s; a source then goes on within seconds."""


class Writers:
    """One thread a source, which commits events at a steady rate until it is stopped."""

    def __init__(self, bench: RelayBench, rate: float) -> None:
        self._bench = bench
        self._pause = EVENTS_A_COMMIT * len(SOURCES) / rate
        self._stop = threading.Event()
        self.written: dict[str, list[str]] = {source: [] for source in SOURCES}
        """Ids of committed events, in their order, by source."""
        self._threads = [threading.Thread(target=self._write, args=[one]) for one in SOURCES]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        return sum(map(len, self.written.values()))

    def _write(self, source: str) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0, due - time.monotonic())):
            self.written[source] += self._bench.write(source, EVENTS_A_COMMIT)
            due += self._pause


@dataclass
class Reader:
    """Reads committed events, as any consumer does, in a thread."""

    bootstrap: str
    topic: str
    seen: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """Key and id of each event by source, partition by partition in the order of the log."""
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When they arrived."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def count(self) -> int:
        return sum(map(len, self.seen.values()))

    def _read(self) -> None:
        settings: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "group.id": "chaos-reader",
            "isolation.level": "read_committed",
            "log_level": 0,
            "reconnect.backoff.max.ms": 500,
        }
        with closing(Consumer(settings)) as consumer:
            consumer.assign([TopicPartition(self.topic, n, 0) for n in range(PARTITIONS)])
            while not self._stop.is_set():
                messages: Sequence[Any] = consumer.consume(500, timeout=0.2)
                for message in messages:
                    if message.error() is None:
                        self._take(envelope.parse(message.headers()))

    def _take(self, event: envelope.Attributes) -> None:
        source = event.source.removeprefix("/trackops/")
        self.seen[source].append((event.subject, event.id))
        self.times[source].append(time.monotonic())


@dataclass(frozen=True)
class Verdict:
    """What a reader saw of what was written."""

    written: int
    seen: int
    lost: int
    doubled: int
    out_of_order: int

    @property
    def sound(self) -> bool:
        return self.written == self.seen and not (self.lost or self.doubled or self.out_of_order)


def judge(written: Mapping[str, Sequence[str]], reader: Reader) -> Verdict:
    """Compare all that was written with all that was seen, the order by key."""
    seen = {source: list(reader.seen[source]) for source in SOURCES}
    lost = doubled = out_of_order = 0
    for source, ids in written.items():
        place = {event_id: number for number, event_id in enumerate(ids)}
        counts = Counter(event_id for _, event_id in seen[source])
        lost += sum(event_id not in counts for event_id in ids)
        doubled += sum(count - 1 for count in counts.values())
        last: dict[str, int] = {}
        for key, event_id in seen[source]:
            number = place.get(event_id, len(ids))  # written since
            out_of_order += number < last.get(key, -1)
            last[key] = number
    return Verdict(
        sum(map(len, written.values())), sum(map(len, seen.values())), lost, doubled, out_of_order
    )


def all_seen(writers: Writers, reader: Reader) -> Verdict:
    """The verdict on what is written by now, once none of it is missing or a minute has passed."""
    written = {source: list(ids) for source, ids in writers.written.items()}
    with suppress(TimeoutError):
        wait_for(lambda: reader.count >= sum(map(len, written.values())), seconds=60)
        wait_for(lambda: judge(written, reader).lost == 0, seconds=20)
    return judge(written, reader)


class Relays:
    """Replicas as processes, by number; a dead one can be started again."""

    def __init__(self, bench: RelayBench, folder: Path) -> None:
        self._bench = bench
        self._folder = folder
        self._stack = ExitStack()
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, number: int) -> None:
        """Returns once it serves."""
        self._started += 1
        log = self._folder / f"relay-{number}-{self._started}.log"
        settings = {"TRACKOPS_LOG_FORMAT": "json", "TRACKOPS_SOURCES": ",".join(SOURCES)}
        process = self._stack.enter_context(self._bench.process(log, settings))
        self.running[number] = process
        wait_for(lambda: '"serving"' in log.read_text(), seconds=60, what=f"relay {number}")

    def send(self, number: int, what: signal.Signals) -> None:
        self.running[number].send_signal(what)

    def all_alive(self) -> bool:
        return all(process.poll() is None for process in self.running.values())

    def end(self, number: int, what: signal.Signals) -> None:
        """Returns once it is gone."""
        self.send(number, what)
        self.running.pop(number).wait(30)


@pytest.fixture
def link(database: MigratedDatabase) -> Iterator[TcpLink]:
    """The relays' way to Postgres."""
    with closing(TcpLink(urlsplit(database.admin_url).port or 0)) as made:
        yield made


@pytest.fixture
def bench(database: MigratedDatabase, kafka: KafkaCluster, link: TcpLink) -> Iterator[RelayBench]:
    with ExitStack() as stack:

        def opened(role: str) -> Database:
            made = Database(database.url(role), application_name="chaos")
            return stack.enter_context(closing(made))

        databases = {source: opened(source) for source in SOURCES}
        for one in databases.values():
            maintain_outbox(one)
        url = urlsplit(database.url("trackops_outbox_relay"))
        way = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{link.port}")
        settings = RelaySettings(
            listen="127.0.0.1:0",
            database_url=SecretStr(way.geturl()),
            kafka_bootstrap_servers=kafka.bootstrap,
            checkpoint_topic=kafka.topic(8, cleanup_policy="compact"),
            relay_group=f"chaos-{uuid.uuid4().hex}",
            sources=SOURCES,
        )
        own = opened("trackops_outbox_relay")
        yield RelayBench(settings, kafka.topic(PARTITIONS), databases, own)


Fault = Callable[[], None]


@pytest.fixture
def faults(servers: LocalStack, link: TcpLink) -> Callable[[Relays], Mapping[str, Fault]]:
    """Each fault by name; when it returns, everything is there again."""
    pause = threading.Event().wait

    def kill(relays: Relays) -> None:
        victim = random.choice(list(relays.running))
        relays.end(victim, signal.SIGKILL)
        relays.start(victim)

    def sleep_past_the_lease(relays: Relays) -> None:
        victim = random.choice(list(relays.running))
        with _stopped(relays.running[victim].pid):
            pause(9)

    def restart_broker(_: Relays) -> None:
        servers.kafka.stop()
        servers.kafka.start()

    def cut_postgres(_: Relays) -> None:
        link.cut()
        pause(2)
        link.restore()

    def freeze_broker(_: Relays) -> None:
        broker = servers.kafka.process.pid
        assert broker is not None
        with _stopped(broker):
            pause(6)

    made: dict[str, Callable[[Relays], None]] = {
        "kill -9": kill,
        "SIGSTOP 9 s": sleep_past_the_lease,
        "Postgres cut 2 s": cut_postgres,
        "broker unreachable 6 s": freeze_broker,
        "broker restart": restart_broker,
    }
    return lambda relays: {name: partial(fault, relays) for name, fault in made.items()}


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    process = psutil.Process(pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def test_rounds_of_faults_lose_double_and_disorder_nothing(
    bench: RelayBench,
    kafka: KafkaCluster,
    faults: Callable[[Relays], Mapping[str, Fault]],
    tmp_path: Path,
) -> None:
    columns = ("fault", "written", "seen", "lost", "doubled", "out of order", "longest pause")
    table = Table("round", *columns)
    reader = Reader(kafka.bootstrap, bench.topic)
    with Relays(bench, tmp_path) as relays, reader:
        with Writers(bench, RATE) as writers:
            for number in (1, 2):
                relays.start(number)
            by_name = faults(relays)
            for number in range(1, ROUNDS + 1):
                name = list(by_name)[(number - 1) % len(by_name)]
                began = time.monotonic()
                by_name[name]()
                assert relays.all_alive(), f"a relay went down by itself in round {number}: {name}"
                verdict = all_seen(writers, reader)
                pause = max(longest_pause(reader, one, began) for one in SOURCES)
                table.add_row(str(number), name, *_figures(verdict), f"{pause:.1f} s")
        verdict = all_seen(writers, reader)
    table.add_row("all", "", *_figures(verdict), "")
    Console(width=100).print(table)
    assert verdict.sound, f"{verdict}\n{_last_lines(tmp_path)}"


def test_replicas_come_and_go_while_events_flow(
    bench: RelayBench, kafka: KafkaCluster, tmp_path: Path
) -> None:
    """1 → 3 → 2, and one more that is killed."""
    table = Table("what", "longest pause of a source")
    reader = Reader(kafka.bootstrap, bench.topic)
    with Relays(bench, tmp_path) as relays, reader:
        with Writers(bench, RATE) as writers:
            relays.start(1)
            all_seen(writers, reader)

            def measure(what: str, *changes: Callable[[], None]) -> None:
                began = time.monotonic()
                for change in changes:
                    change()
                threading.Event().wait(max(0, began + SETTLE_SECONDS - time.monotonic()))
                pause = max(longest_pause(reader, one, began) for one in SOURCES)
                table.add_row(what, f"{pause:.2f} s")

            measure("nothing happens")
            measure("1 → 3", lambda: relays.start(2), lambda: relays.start(3))
            measure("3 → 2, SIGTERM", lambda: relays.end(1, signal.SIGTERM))
            measure("2 → 1, kill -9", lambda: relays.end(2, signal.SIGKILL))
        verdict = all_seen(writers, reader)
    table.add_row(f"{verdict.written} events at {RATE:.0f}/s", "")
    Console(width=100).print(table)
    assert verdict.sound, verdict


def test_a_relay_without_its_database_or_its_broker_is_not_ready_and_says_which(
    bench: RelayBench, servers: LocalStack, link: TcpLink, tmp_path: Path
) -> None:
    port = Ports.free().outbox_relay
    log = tmp_path / "relay.log"
    settings = {"TRACKOPS_LISTEN": f"127.0.0.1:{port}", "TRACKOPS_LOG_FORMAT": "json"}

    def says(*dependencies: str) -> bool:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        away = [line for line in lines if line["event"] == "not ready: a dependency is away"]
        return [line["dependency"] for line in away] == list(dependencies)

    with bench.process(log, settings):
        wait_for(lambda: is_serving(f"127.0.0.1:{port}"), seconds=60, what="SERVING")
        link.cut()
        wait_for(lambda: not is_serving(f"127.0.0.1:{port}"), what="NOT_SERVING")
        assert says("Postgres")
        link.restore()
        wait_for(lambda: is_serving(f"127.0.0.1:{port}"), what="SERVING again")
        broker = servers.kafka.process.pid
        assert broker is not None
        with _stopped(broker):
            wait_for(lambda: not is_serving(f"127.0.0.1:{port}"), what="NOT_SERVING")
            assert says("Postgres", "Kafka")
        wait_for(lambda: is_serving(f"127.0.0.1:{port}"), what="SERVING again")


def longest_pause(reader: Reader, source: str, since: float) -> float:
    """Seconds without an event of the source, at most, from `since` until the last one."""
    times = [since, *(one for one in list(reader.times[source]) if one > since)]
    return max((after - before for before, after in pairwise(times)), default=0)


def _last_lines(folder: Path) -> str:
    """What each relay had to say in the end."""
    logs = sorted(folder.glob("*.log"))
    tails = ["\n".join([log.name, *log.read_text().splitlines()[-20:]]) for log in logs]
    return "\n\n".join(tails)


def _figures(verdict: Verdict) -> list[str]:
    """`seen` counts what was written since, too."""
    return [str(figure) for figure in astuple(verdict)]
