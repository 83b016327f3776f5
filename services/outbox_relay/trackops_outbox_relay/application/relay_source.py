"""Publish one source for as long as its lease lasts."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import structlog

from trackops_common.clock import Clock
from trackops_common.errors import TransientError
from trackops_outbox_relay.application.bisection import Bisection
from trackops_outbox_relay.application.operate import Operate
from trackops_outbox_relay.application.ports import (
    Fenced,
    Lease,
    Outbox,
    Publisher,
    Publishers,
    RowsRefused,
    WakeUp,
)
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.application.start_source import StartSource
from trackops_outbox_relay.domain.checkpoint import Checkpoint, OutboxRow
from trackops_outbox_relay.domain.errors import SourceRefused
from trackops_outbox_relay.domain.standing import Standing, Step, advance

__all__ = ["Pace", "RelaySource"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much at once, and how often."""

    batch_rows: int = 2_000
    """Rows in one transaction, at most."""
    transaction_seconds: float = 0.01
    """From the begin of one small transaction to that of the next, at least.

    A transaction costs the broker the same with one row as with a hundred; a
    row that comes alone is published at once all the same.
    """
    shortest_poll_seconds: float = 0.05
    longest_poll_seconds: float = 1.0
    """An idle outbox is read in intervals that double from the one to the other."""
    first_pause_seconds: float = 0.2
    longest_pause_seconds: float = 5.0
    """Pauses after failures double from the one to the other."""
    fenced_pause_seconds: float = 1.5
    """After being fenced: longer than a heartbeat, so that the group has told what it knows."""
    refused_pause_seconds: float = 30.0
    """Until a refused source is looked at again."""


class RelaySource:
    """One source's work: `run` blocks until its lease has ended."""

    def __init__(
        self,
        lease: Lease,
        *,
        outbox: Outbox,
        publishers: Publishers,
        start_source: StartSource,
        operate: Operate,
        wake_up: WakeUp,
        progress: Progress,
        pace: Pace,
        reader: Executor,
        clock: Clock,
    ) -> None:
        """`reader` runs the read of the next batch during the commit of this one."""
        self._lease = lease
        self._source = lease.source
        self._outbox = outbox
        self._publishers = publishers
        self._start_source = start_source
        self._operate = operate
        self._wake_up = wake_up
        self._progress = progress
        self._pace = pace
        self._reader = reader
        self._clock = clock
        self._bisection = Bisection(pace.batch_rows)
        self._refusal: SourceRefused | None = None
        self._failures = 0

    def run(self) -> None:
        """Publish until the lease ends, waiting for a broker or a database that is away."""
        while not self._lease.ended:
            try:
                self._stand_still()
                with self._publishers.open(self._source) as publisher:
                    self._publish_from(self._start_source(self._source, publisher), publisher)
            except Fenced as error:
                _log.warning("fenced", source=self._source, error=str(error))
                if not self._lease.confirm(pause_seconds=self._pace.fenced_pause_seconds):
                    return
            except RowsRefused as error:
                _log.warning("looking for a refused row", source=self._source, error=str(error))
                self._bisection.refused(error.detail)
            except TransientError as error:
                self._wait_after(error)
            except SourceRefused as error:
                _log.critical("source refused", source=self._source, error=str(error))
                self._progress.refused(self._source, error)
                self._refusal = error

    def _publish_from(self, standing: Standing, publisher: Publisher) -> None:
        rows = self._read(standing.checkpoint)
        self._progress.reached(self._source, standing)
        self._operate.settle(standing)
        _log.info("publishing", source=self._source, seq=standing.checkpoint.seq)
        idle_seconds = self._pace.shortest_poll_seconds
        while not self._lease.ended:
            standing = self._operate(self._source, standing, publisher)
            if rows:
                standing, rows = self._publish(rows, standing, publisher)
                idle_seconds = self._pace.shortest_poll_seconds
            elif self._wake_up.wait(idle_seconds):
                idle_seconds = self._pace.shortest_poll_seconds
            else:
                idle_seconds = min(idle_seconds * 2, self._pace.longest_poll_seconds)
            self._failures = 0
            rows = rows or self._read(standing.checkpoint)

    def _publish(
        self, rows: Sequence[OutboxRow], standing: Standing, publisher: Publisher
    ) -> tuple[Standing, Sequence[OutboxRow]]:
        """Publish a batch; the standing after it, and the next rows where they are at hand."""
        began = time.monotonic()
        now, later = self._bisection.cut(rows)
        faults = {**publisher.faults(now), **self._bisection.faults}
        step = advance(standing, now, faults, at=self._clock.now())
        self._bisection.trying(step)
        publisher.begin(step)
        following: Future[Sequence[OutboxRow]] | None = None
        if len(rows) == self._pace.batch_rows and not later:
            following = self._reader.submit(self._read, step.standing.checkpoint)
        publisher.commit()
        self._committed(step, seconds=time.monotonic() - began)
        if following is not None:
            return step.standing, following.result()
        if not later:
            self._lease.wait(began + self._pace.transaction_seconds - time.monotonic())
        return step.standing, later

    def _committed(self, step: Step, *, seconds: float) -> None:
        self._bisection.committed()
        self._progress.reached(self._source, step.standing, publish_seconds=seconds)
        for key, entry in step.changes.items():
            if entry is not None:
                _log.error(
                    "key quarantined",
                    source=self._source,
                    key=key,
                    seq=entry.first_seq,
                    reason=entry.fault.reason.value,
                    detail=entry.fault.detail,
                )

    def _read(self, checkpoint: Checkpoint) -> Sequence[OutboxRow]:
        return self._outbox.read(checkpoint, limit=self._pace.batch_rows)

    def _stand_still(self) -> None:
        """After a refusal: wait until a rebase was done, or it is time to look again."""
        refusal, self._refusal = self._refusal, None
        look_again = time.monotonic() + self._pace.refused_pause_seconds
        while refusal is not None and not self._lease.ended and time.monotonic() < look_again:
            if self._operate.on_refused(self._source, refusal):
                return
            self._wake_up.wait(self._pace.shortest_poll_seconds)

    def _wait_after(self, error: TransientError) -> None:
        longest = self._pace.longest_pause_seconds
        pause = min(longest, self._pace.first_pause_seconds * 2 ** min(self._failures, 16))
        pause *= random.uniform(0.5, 1)  # noqa: S311 - jitter
        self._failures += 1
        _log.warning(
            "waiting to publish again",
            source=self._source,
            failures=self._failures,
            pause_seconds=round(pause, 2),
            error=str(error),
        )
        self._lease.wait(pause)
