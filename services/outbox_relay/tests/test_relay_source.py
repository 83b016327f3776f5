"""The loop of one source, without broker or database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from trackops_common.errors import TransientError
from trackops_common.testing import ManualClock
from trackops_outbox_relay.application.operate import Operate
from trackops_outbox_relay.application.plan_rebase import PlanRebase
from trackops_outbox_relay.application.ports import Fenced, RowsRefused, WaitingRows
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.application.rebase_source import RebaseSource
from trackops_outbox_relay.application.relay_source import Pace, RelaySource
from trackops_outbox_relay.application.release_quarantine import ReleaseQuarantine
from trackops_outbox_relay.application.start_source import StartSource
from trackops_outbox_relay.domain.checkpoint import Backlog, Checkpoint, OutboxRow
from trackops_outbox_relay.domain.errors import (
    CheckpointLost,
    OperationRefused,
    OutboxDiverged,
    TopicReplaced,
)
from trackops_outbox_relay.domain.operations import Operation, OperationKind, OperationRecord
from trackops_outbox_relay.domain.quarantine import Fault, Quarantined, QuarantineReason
from trackops_outbox_relay.domain.rebase import LogSpan, RowPlace
from trackops_outbox_relay.domain.sources import partition_of
from trackops_outbox_relay.domain.standing import Standing, Step

TOO_LARGE = Fault(QuarantineReason.TOO_LARGE, "9 bytes")
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
    """Odd and even rows have a key each."""
    return OutboxRow(seq, f"event-{seq}", "topic", f"key-{seq % 2}", "type", 1, b"", "", "")


def _at(seq: int) -> Standing:
    return Standing(Checkpoint(seq, f"event-{seq}"))


@dataclass
class Desk:
    """`Operations` in memory."""

    orders: list[Operation] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)

    def next(self, source: str) -> Operation | None:
        waiting = [one for one in self.orders if one.operation_id not in self.ended]
        return next((one for one in waiting if one.source == source), None)

    def finish(self, operation_id: str, outcome: str) -> None:
        self.ended.setdefault(operation_id, outcome)

    def fail(self, operation_id: str, refusal: OperationRefused) -> None:
        self.ended[operation_id] = refusal.problem

    def submit(self, operation: Operation) -> None:
        raise NotImplementedError

    def find(self, operation_id: str) -> OperationRecord:
        raise NotImplementedError

    def history(self, source: str, *, before: int, limit: int) -> Sequence[OperationRecord]:
        raise NotImplementedError


@dataclass
class World:
    """Broker, database and lease in one, which fails where a test says so.

    The lease ends when an idle outbox was waited for `patience` times.
    """

    rows: int
    topic_id_: str = "topic-1"
    known: str | None = None
    log: list[int] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    """Each ends one commit."""
    applies_before_failing: bool = False
    patience: int = 1
    confirmed: bool = True
    opened: int = 0
    waits: list[float] = field(default_factory=list)
    ended: bool = False
    source: str = "trackops_order"
    begun: Step | None = None
    standing: Standing | None = None
    too_large: frozenset[int] = frozenset()
    """Rows that are known to be at fault before they are sent."""
    poison: frozenset[int] = frozenset()
    """Rows that the broker refuses."""

    @contextmanager
    def open(self, source: str) -> Iterator[World]:
        assert source == self.source
        self.opened += 1
        self.begun = None
        yield self

    def faults(self, rows: Sequence[OutboxRow]) -> Mapping[int, Fault]:
        return {row.seq: TOO_LARGE for row in rows if row.seq in self.too_large}

    def begin(self, step: Step) -> None:
        assert self.begun is None, "one transaction at a time"
        self.begun = step

    def commit(self) -> None:
        assert self.begun is not None
        if any(row.seq in self.poison for row in self.begun.rows):
            raise RowsRefused("INVALID_RECORD")
        failure = self.failures.pop(0) if self.failures else None
        if failure is None or self.applies_before_failing:
            self.standing = self.begun.standing
            self.log += [row.seq for row in self.begun.rows]
        if failure is not None:
            raise failure
        self.begun = None

    def topic_id(self) -> str:
        return self.topic_id_

    def last(self, source: str) -> Standing | None:
        assert source == self.source
        return self.standing

    def found(self, source: str) -> Standing:
        return self.last(source) or Standing()

    def checkpoint_topic_id(self, source: str) -> str | None:
        assert source == self.source
        return self.known

    def remember(self, source: str, checkpoint_topic_id: str) -> None:
        assert source == self.source
        assert self.standing is not None, "known before it has a checkpoint"
        self.known = checkpoint_topic_id

    def read(self, checkpoint: Checkpoint, *, limit: int) -> Sequence[OutboxRow]:
        if checkpoint.seq > self.rows:
            self.ended = True
            raise OutboxDiverged(
                self.source, seq=checkpoint.seq, expected_id=checkpoint.event_id, found_id=None
            )
        last = min(self.rows, checkpoint.seq + limit)
        return [_row(seq) for seq in range(checkpoint.seq + 1, last + 1)]

    def of_key(self, key: str, *, first: int, last: int, limit: int) -> Sequence[OutboxRow]:
        rows = [_row(seq) for seq in range(first, last + 1)]
        return [row for row in rows if row.key == key][:limit]

    def first_seq(self, since: datetime) -> int:
        raise NotImplementedError

    def waiting(
        self, keys: Sequence[Quarantined], checkpoint: Checkpoint
    ) -> Mapping[str, WaitingRows]:
        raise NotImplementedError

    def places(self) -> Sequence[RowPlace]:
        raise NotImplementedError

    def of(self, source: str) -> World:
        assert source == self.source
        return self

    def events(self, source: str, topics: Sequence[str], *, since: datetime) -> LogSpan:
        raise NotImplementedError

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


def _run(world: World, *orders: Operation) -> tuple[Progress, Desk]:
    progress, desk, clock = Progress(), Desk(list(orders)), ManualClock()
    plan = PlanRebase([world.source], world, world, world, clock)
    with ThreadPoolExecutor(1) as reader:
        RelaySource(
            world,
            outbox=world,
            publishers=world,
            start_source=StartSource(world, world),
            operate=Operate(
                desk,
                ReleaseQuarantine(world, clock),
                RebaseSource(plan, world, world, world, desk),
                progress,
            ),
            wake_up=world,
            progress=progress,
            pace=PACE,
            reader=reader,
            clock=clock,
        ).run()
    return progress, desk


@pytest.mark.parametrize("rows", [0, 1, 3, 7])
def test_every_row_is_published_in_order(rows: int) -> None:
    world = World(rows)
    progress, _ = _run(world)
    assert world.log == list(range(1, rows + 1))
    assert world.known == "topic-1"
    here = progress.of(world.source)
    assert here is not None
    assert here.standing == (_at(rows) if rows else Standing())


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
    world.standing, world.known = Standing(), "topic-1"
    _run(world)
    assert world.opened == 2
    assert world.log == list(range(1, 8))


def test_a_fenced_relay_without_its_lease_does_not_start_over() -> None:
    world = World(7, failures=[Fenced("order")], confirmed=False)
    world.standing, world.known = Standing(), "topic-1"
    _run(world)
    assert world.opened == 1
    assert world.log == []


def test_a_refused_source_publishes_nothing_and_says_why() -> None:
    world = World(5, standing=_at(9), known="topic-1")
    progress, _ = _run(world)
    assert world.log == []
    here = progress.of(world.source)
    assert here is not None
    assert "trackops outbox rebase trackops_order" in str(here.refusal)


def _order(kind: OperationKind, key: str, *, through_seq: int = 0) -> Operation:
    return Operation(
        operation_id="operation",
        source="trackops_order",
        kind=kind,
        key=key,
        through_seq=through_seq,
        reason="why not",
        principal="me",
    )


@pytest.mark.parametrize("how", ["too_large", "poison"])
def test_a_row_that_cannot_be_published_holds_up_its_key_only(how: str) -> None:
    world = World(10)
    setattr(world, how, frozenset({3}))
    _run(world)
    assert world.log == [1, 2, 4, 6, 8, 10]
    assert world.standing is not None
    assert world.standing.checkpoint == Checkpoint(10, "event-10")
    (waiting,) = world.standing.quarantine.values()
    assert (waiting.key, waiting.first_seq) == ("key-1", 3)


def test_rows_that_the_broker_refuses_are_found_among_many() -> None:
    world = World(12, poison=frozenset({5, 6}))
    _run(world)
    assert world.log == [1, 2, 3, 4]
    assert world.standing is not None
    found = {key: one.first_seq for key, one in world.standing.quarantine.items()}
    assert found == {"key-1": 5, "key-0": 6}


def test_a_broker_that_is_away_is_never_taken_for_poison() -> None:
    world = World(7, failures=[TransientError("the broker is away")] * 9)
    _run(world)
    assert world.log == list(range(1, 8))
    assert world.standing == _at(7)


def test_a_replay_publishes_what_waited_in_order_and_before_what_follows() -> None:
    world = World(10, too_large=frozenset({3}))
    _run(world)
    world.too_large, world.rows, world.ended, world.log = frozenset(), 14, False, []
    _, desk = _run(world, _order(OperationKind.REPLAY, "key-1"))
    assert world.log == [3, 5, 7, 9, 11, 12, 13, 14]
    assert json.loads(desk.ended["operation"]) == {"published_rows": 4, "discarded_rows": 0}
    assert world.standing is not None
    assert world.standing.quarantine == {}


def test_a_replay_stops_at_the_next_row_that_cannot_be_published() -> None:
    world = World(10, too_large=frozenset({3, 7}))
    _run(world)
    world.too_large, world.ended, world.log = frozenset({7}), False, []
    _, desk = _run(world, _order(OperationKind.REPLAY, "key-1"))
    assert world.log == [3, 5]
    assert json.loads(desk.ended["operation"])["remaining"]["first_seq"] == 7
    assert world.standing is not None
    assert world.standing.quarantine["key-1"].first_seq == 7


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        (_order(OperationKind.REPLAY, "key-1"), "STILL_UNPUBLISHABLE"),
        (_order(OperationKind.REPLAY, "key-0"), "KEY_NOT_QUARANTINED"),
        (_order(OperationKind.DISCARD, "key-1", through_seq=4), "ROW_NOT_QUARANTINED"),
        (_order(OperationKind.DISCARD, "key-1", through_seq=11), "ROW_NOT_QUARANTINED"),
        (_order(OperationKind.REBASE, ""), "SOURCE_NOT_REFUSED"),
    ],
)
@pytest.mark.parametrize("how", ["too_large", "poison"])
def test_what_cannot_be_done_changes_nothing(how: str, order: Operation, problem: str) -> None:
    world = World(10)
    setattr(world, how, frozenset({3}))
    _run(world)
    before, world.ended, world.log = world.standing, False, []
    _, desk = _run(world, order)
    assert desk.ended == {"operation": problem}
    assert (world.standing, world.log) == (before, [])


def test_a_discard_gives_up_rows_up_to_the_named_one_only() -> None:
    world = World(10, too_large=frozenset({3}))
    _run(world)
    world.ended, world.log = False, []
    _, desk = _run(world, _order(OperationKind.DISCARD, "key-1", through_seq=5))
    assert world.log == [7, 9]
    assert json.loads(desk.ended["operation"]) == {"published_rows": 2, "discarded_rows": 2}


@pytest.mark.parametrize("applies_before_failing", [False, True])
def test_a_replay_of_unknown_outcome_is_done_once(applies_before_failing: bool) -> None:
    world = World(10, too_large=frozenset({3}))
    _run(world)
    world.too_large, world.ended, world.log = frozenset(), False, []
    world.failures = [TransientError("no answer")]
    world.applies_before_failing = applies_before_failing
    _, desk = _run(world, _order(OperationKind.REPLAY, "key-1"))
    assert world.log == [3, 5, 7, 9]
    assert json.loads(desk.ended["operation"])["published_rows"] == 4


def test_a_known_source_never_starts_from_zero() -> None:
    world = World(5, known="topic-1")
    with pytest.raises(CheckpointLost), world.open(world.source) as publisher:
        StartSource(world, world)(world.source, publisher)


def test_a_known_source_is_bound_to_its_checkpoint_topic() -> None:
    world = World(5, known="topic-0", standing=_at(3))
    with pytest.raises(TopicReplaced), world.open(world.source) as publisher:
        StartSource(world, world)(world.source, publisher)


def test_a_source_whose_database_forgot_it_goes_on_from_its_checkpoint() -> None:
    world = World(5, standing=_at(3))
    with world.open(world.source) as publisher:
        assert StartSource(world, world)(world.source, publisher) == _at(3)
    assert world.known == "topic-1"


def test_the_place_of_a_source_depends_on_its_name_only() -> None:
    places = {
        name: partition_of(name, 8)
        for name in ("trackops_order", "trackops_inventory", "trackops_payment")
    }
    assert places == {"trackops_order": 3, "trackops_inventory": 7, "trackops_payment": 0}
