"""The numbers of what a replica publishes."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, generate_latest

from trackops_common.testing import ManualClock
from trackops_common.testing_http import numbers
from trackops_common.vitals import Sampled, Vitals
from trackops_outbox_relay.application.measure_sources import MeasureSources, SourceNumbers
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.domain.checkpoint import Backlog, Checkpoint
from trackops_outbox_relay.domain.errors import OutboxDiverged
from trackops_outbox_relay.domain.standing import Standing
from trackops_outbox_relay.entrypoints.numbers import show_sources


class Outboxes:
    """The oldest row of each was written when the clock began; `last` is the newest `seq`."""

    def __init__(self, clock: ManualClock, *, last: int) -> None:
        self._began = clock.now()
        self._last = last

    def of(self, _: str) -> Outboxes:
        return self

    def backlog(self, checkpoint: Checkpoint) -> Backlog:
        rows = self._last - checkpoint.seq
        return Backlog(rows, self._began if rows else None)


def _measure(progress: Progress, *, last: int) -> list[SourceNumbers]:
    clock = ManualClock()
    outboxes = Outboxes(clock, last=last)
    clock.advance(seconds=30)
    return list(MeasureSources(("b", "a"), progress, outboxes, clock)())  # type: ignore[arg-type]


def test_only_sources_that_are_leased_here_and_have_begun_are_measured() -> None:
    progress = Progress()
    with progress.leased("a"), progress.leased("b"):
        progress.reached("b", Standing(Checkpoint(7, "id")))

        assert _measure(progress, last=10) == [SourceNumbers("b", 3, 30.0, 0, refused=False)]
        assert _measure(progress, last=7) == [SourceNumbers("b", 0, 0.0, 0, refused=False)]
    assert _measure(progress, last=10) == []


def test_a_source_that_nobody_leases_can_be_told_from_one_that_is_idle() -> None:
    vitals = Vitals(registry := CollectorRegistry())
    sampled = Sampled[Sequence[SourceNumbers]](list)
    show_sources(vitals, sampled, ["a", "b"])
    sampled.value = [SourceNumbers("b", 0, 0.0, 0, refused=False)]

    shown = numbers(generate_latest(registry).decode())

    assert shown["trackops_relay_sources", frozenset()] == 2
    assert {
        label for name, labels in shown if name == "trackops_outbox_rows_behind" for label in labels
    } == {"source=b"}


def test_a_source_that_is_refused_is_told() -> None:
    progress = Progress()
    refusal = OutboxDiverged("a", seq=7, expected_id="x", found_id=None)
    with progress.leased("a"):
        progress.reached("a", Standing(Checkpoint(7, "id")))
        progress.refused("a", refusal)

        (numbers,) = _measure(progress, last=7)

    assert numbers.refused


def test_each_transaction_is_told_with_its_seconds() -> None:
    told: list[tuple[str, float]] = []
    progress = Progress(lambda source, seconds: told.append((source, seconds)))
    with progress.leased("a"):
        progress.reached("a", Standing())
        progress.reached("a", Standing(Checkpoint(1, "id")), publish_seconds=0.5)

    assert told == [("a", 0.5)]
