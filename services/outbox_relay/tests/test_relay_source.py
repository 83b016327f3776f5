"""The loop of one source, without broker or database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from trackops_common.errors import TransientError
from trackops_outbox_relay.application.ports import Fenced
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.application.relay_source import Pace, RelaySource
from trackops_outbox_relay.application.start_source import StartSource
from trackops_outbox_relay.domain.checkpoint import START, Backlog, Checkpoint, OutboxRow
from trackops_outbox_relay.domain.errors import CheckpointLost, OutboxDiverged, TopicReplaced
from trackops_outbox_relay.domain.sources import partition_of

PACE = Pace(
    batch_rows=3,
    transaction_seconds=0,
    shortest_poll_seconds=0.5,
    longest_poll_seconds=1.5,
    first_pause_seconds=0,
    fenced_pause_seconds=0,
    refused_pause_seconds=0,
)


def _row(seq: int) -> OutboxRow:
    return OutboxRow(seq, f"event-{seq}", "topic", "key", "type", 1, b"", "", "")


@dataclass
class World:
    """Broker, database and lease in one, which fails where a test says so.

    The lease ends when an idle outbox was waited for `patience` times.
    """

    rows: int
    topic_id_: str = "topic-1"
    known: str | None = None
    log: list[int] = field(default_factory=list)
    checkpoint: Checkpoint | None = None
    failures: list[Exception] = field(default_factory=list)
    """Each ends one commit."""
    applies_before_failing: bool = False
    patience: int = 1
    confirmed: bool = True
    opened: int = 0
    waits: list[float] = field(default_factory=list)
    ended: bool = False
    source: str = "trackops_order"
    begun: tuple[Sequence[OutboxRow], Checkpoint] | None = None

    @contextmanager
    def open(self, source: str) -> Iterator[World]:
        assert source == self.source
        self.opened += 1
        self.begun = None
        yield self

    def publish(self, rows: Sequence[OutboxRow]) -> None:
        assert self.begun is None, "one transaction at a time"
        self.begun = (rows, rows[-1].checkpoint)

    def begin(self, checkpoint: Checkpoint) -> None:
        self.begun = ((), checkpoint)

    def commit(self) -> None:
        assert self.begun is not None
        failure = self.failures.pop(0) if self.failures else None
        if failure is None or self.applies_before_failing:
            rows, self.checkpoint = self.begun
            self.log += [row.seq for row in rows]
        if failure is not None:
            raise failure
        self.begun = None

    def topic_id(self) -> str:
        return self.topic_id_

    def last(self, source: str) -> Checkpoint | None:
        assert source == self.source
        return self.checkpoint

    def checkpoint_topic_id(self, source: str) -> str | None:
        assert source == self.source
        return self.known

    def remember(self, source: str, checkpoint_topic_id: str) -> None:
        assert source == self.source
        assert self.checkpoint is not None, "known before it has a checkpoint"
        self.known = checkpoint_topic_id

    def read(self, checkpoint: Checkpoint, *, limit: int) -> Sequence[OutboxRow]:
        if checkpoint.seq > self.rows:
            self.ended = True
            raise OutboxDiverged(
                self.source, seq=checkpoint.seq, expected_id=checkpoint.event_id, found_id=None
            )
        last = min(self.rows, checkpoint.seq + limit)
        return [_row(seq) for seq in range(checkpoint.seq + 1, last + 1)]

    def backlog(self, checkpoint: Checkpoint) -> Backlog:
        return Backlog(self.rows - checkpoint.seq, None)

    def wait(self, seconds: float) -> bool:
        if seconds > 0:
            self.waits.append(seconds)
            self.ended = len(self.waits) >= self.patience
        return False

    def confirm(self, *, pause_seconds: float) -> bool:
        assert pause_seconds == PACE.fenced_pause_seconds
        return self.confirmed


def _run(world: World) -> Progress:
    progress = Progress()
    with ThreadPoolExecutor(1) as reader:
        RelaySource(
            world,
            outbox=world,
            publishers=world,
            start_source=StartSource(world, world),
            wake_up=world,
            progress=progress,
            pace=PACE,
            reader=reader,
        ).run()
    return progress


@pytest.mark.parametrize("rows", [0, 1, 3, 7])
def test_every_row_is_published_in_order(rows: int) -> None:
    world = World(rows)
    progress = _run(world)
    assert world.log == list(range(1, rows + 1))
    assert world.known == "topic-1"
    here = progress.of(world.source)
    assert here is not None
    assert here.checkpoint == (_row(rows).checkpoint if rows else START)


def test_an_idle_outbox_is_read_less_and_less() -> None:
    world = World(1, patience=4)
    _run(world)
    assert world.waits == [0.5, 1.0, 1.5, 1.5]


@pytest.mark.parametrize("applies_before_failing", [False, True])
@pytest.mark.parametrize("failure", [TransientError("the broker is away"), Fenced("order")])
def test_a_commit_of_unknown_outcome_is_settled_by_the_checkpoint(
    failure: Exception, applies_before_failing: bool
) -> None:
    world = World(7, failures=[failure], applies_before_failing=applies_before_failing)
    world.checkpoint, world.known = START, "topic-1"
    _run(world)
    assert world.opened == 2
    assert world.log == list(range(1, 8))


def test_a_fenced_relay_without_its_lease_does_not_start_over() -> None:
    world = World(7, failures=[Fenced("order")], confirmed=False)
    world.checkpoint, world.known = START, "topic-1"
    _run(world)
    assert world.opened == 1
    assert world.log == []


def test_a_refused_source_publishes_nothing_and_says_why() -> None:
    world = World(5, checkpoint=Checkpoint(9, "event-9"), known="topic-1")
    progress = _run(world)
    assert world.log == []
    here = progress.of(world.source)
    assert here is not None
    assert "trackops outbox rebase trackops_order" in str(here.refusal)


def test_a_known_source_never_starts_from_zero() -> None:
    world = World(5, known="topic-1")
    with pytest.raises(CheckpointLost), world.open(world.source) as publisher:
        StartSource(world, world)(world.source, publisher)


def test_a_known_source_is_bound_to_its_checkpoint_topic() -> None:
    world = World(5, known="topic-0", checkpoint=Checkpoint(3, "event-3"))
    with pytest.raises(TopicReplaced), world.open(world.source) as publisher:
        StartSource(world, world)(world.source, publisher)


def test_a_source_whose_database_forgot_it_goes_on_from_its_checkpoint() -> None:
    world = World(5, checkpoint=Checkpoint(3, "event-3"))
    with world.open(world.source) as publisher:
        assert StartSource(world, world)(world.source, publisher) == Checkpoint(3, "event-3")
    assert world.known == "topic-1"


def test_the_place_of_a_source_depends_on_its_name_only() -> None:
    places = {
        name: partition_of(name, 8)
        for name in ("trackops_order", "trackops_inventory", "trackops_payment")
    }
    assert places == {"trackops_order": 3, "trackops_inventory": 7, "trackops_payment": 0}
