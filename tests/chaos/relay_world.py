"""What is around relays under fire: writers, a reader, the relays as processes, a verdict."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer, TopicPartition

from trackops_cli.testing import wait_for
from trackops_common import envelope
from trackops_common.kafka import gathered
from trackops_outbox_relay.testing import RelayBench

SOURCES = ("trackops_order", "trackops_inventory", "trackops_payment", "trackops_saga_orchestrator")
PARTITIONS = 3
EVENTS_A_COMMIT = 10


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
    ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The ids of them."""
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

    def has(self, events: Mapping[str, Sequence[str]]) -> bool:
        """Whether each of these ids, by source, was seen."""
        return all(self.ids[source].issuperset(ids) for source, ids in events.items())

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
                for message in gathered(consumer, at_most=1_000, seconds=0.2):
                    if message.error() is None:
                        self._take(envelope.parse(message.headers()))

    def _take(self, event: envelope.Attributes) -> None:
        source = event.source.removeprefix("/trackops/")
        self.seen[source].append((event.subject, event.id))
        self.ids[source].add(event.id)
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
    """The verdict on what is written by now, once the last of it has come or a minute has passed.

    The last commit of a source has events of all its keys, and what is read of a key later was
    written later.
    """
    written = {source: list(ids) for source, ids in writers.written.items()}
    last = {source: ids[-EVENTS_A_COMMIT:] for source, ids in written.items()}
    with suppress(TimeoutError):
        wait_for(lambda: reader.has(last), seconds=60)
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


def longest_pause(reader: Reader, source: str, since: float) -> float:
    """Seconds without an event of the source, at most, from `since` until the last one."""
    times = [since, *(one for one in list(reader.times[source]) if one > since)]
    return max((after - before for before, after in pairwise(times)), default=0)
