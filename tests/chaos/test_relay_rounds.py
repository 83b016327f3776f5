"""Relays under fire: what was committed to the outboxes reaches a consumer once and in order.

A few rounds in the ordinary suite; `make chaos-relay` runs twenty, and the rate that
TRACKOPS_CHAOS_RATE names. The relays reach Postgres and Kafka by ways that can
be cut; writers and reader do not. The last lines of every relay are printed
when something is amiss.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import astuple
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from trackops_cli.local.kafka import Detour
from trackops_cli.local.mesh import is_serving
from trackops_cli.local.ports import Ports
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import Database as MigratedDatabase
from trackops_cli.testing import KafkaCluster, wait_for
from trackops_common.database import Database
from trackops_common.partitions import maintain_outbox
from trackops_common.testing import TcpLink
from trackops_outbox_relay.settings import RelaySettings
from trackops_outbox_relay.testing import RelayBench

from .relay_world import (
    PARTITIONS,
    SOURCES,
    Reader,
    Relays,
    Verdict,
    Writers,
    all_seen,
    longest_pause,
)

ROUNDS = int(os.environ.get("TRACKOPS_CHAOS_ROUNDS", "4"))
RATE = float(os.environ.get("TRACKOPS_CHAOS_RATE", "600"))
"""Events a second, over all sources."""
SETTLE_SECONDS = 12.0
"""A kill is noticed after the session's 6 s; a source then goes on within seconds."""


@pytest.fixture
def link(database: MigratedDatabase) -> Iterator[TcpLink]:
    """The relays' way to Postgres."""
    with closing(TcpLink(urlsplit(database.admin_url).port or 0)) as made:
        yield made


@pytest.fixture
def kafka_link(servers: LocalStack, kafka_server: str) -> Iterator[TcpLink]:
    """The relays' way to Kafka, which the broker itself names to those who come by it."""
    port = Ports.free().kafka
    with closing(TcpLink(port)) as made:
        servers.kafka.detour = Detour(port, made.port)
        servers.kafka.start()
        yield made
    servers.kafka.detour = None
    servers.kafka.start()


@pytest.fixture
def bench(
    database: MigratedDatabase, kafka: KafkaCluster, link: TcpLink, kafka_link: TcpLink
) -> Iterator[RelayBench]:
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
            kafka_bootstrap_servers=f"127.0.0.1:{kafka_link.port}",
            checkpoint_topic=kafka.topic(8, cleanup_policy="compact"),
            relay_group=f"chaos-{uuid.uuid4().hex}",
            sources=SOURCES,
        )
        own = opened("trackops_outbox_relay")
        yield RelayBench(settings, kafka.topic(PARTITIONS), databases, own)


Fault = Callable[[], None]


@pytest.fixture
def faults(
    servers: LocalStack, link: TcpLink, kafka_link: TcpLink
) -> Callable[[Relays], Mapping[str, Fault]]:
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

    def cut(way: TcpLink, seconds: float, _: Relays) -> None:
        way.cut()
        pause(seconds)
        way.restore()

    def freeze_broker(_: Relays) -> None:
        broker = servers.kafka.process.pid
        assert broker is not None
        with _stopped(broker):
            pause(6)

    made: dict[str, Callable[[Relays], None]] = {
        "kill -9": kill,
        "SIGSTOP 9 s": sleep_past_the_lease,
        "broker restart": restart_broker,
        "Kafka cut 4 s": partial(cut, kafka_link, 4),
        "Postgres cut 2 s": partial(cut, link, 2),
        "broker unreachable 6 s": freeze_broker,
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


def _last_lines(folder: Path) -> str:
    """What each relay had to say in the end."""
    logs = sorted(folder.glob("*.log"))
    tails = ["\n".join([log.name, *log.read_text().splitlines()[-20:]]) for log in logs]
    return "\n\n".join(tails)


def _figures(verdict: Verdict) -> list[str]:
    """`seen` counts what was written since, too."""
    return [str(figure) for figure in astuple(verdict)]
