"""Publish one source for as long as its lease lasts."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import structlog

from trackops_common.errors import TransientError
from trackops_outbox_relay.application.ports import (
    Fenced,
    Lease,
    Outbox,
    Publisher,
    Publishers,
    WakeUp,
)
from trackops_outbox_relay.application.progress import Progress
from trackops_outbox_relay.application.start_source import StartSource
from trackops_outbox_relay.domain.checkpoint import Checkpoint, OutboxRow
from trackops_outbox_relay.domain.errors import SourceRefused

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
        wake_up: WakeUp,
        progress: Progress,
        pace: Pace,
        reader: Executor,
    ) -> None:
        """`reader` runs the read of the next batch during the commit of this one."""
        self._lease = lease
        self._source = lease.source
        self._outbox = outbox
        self._publishers = publishers
        self._start_source = start_source
        self._wake_up = wake_up
        self._progress = progress
        self._pace = pace
        self._reader = reader
        self._failures = 0

    def run(self) -> None:
        """Publish until the lease ends, waiting for a broker or a database that is away."""
        while not self._lease.ended:
            try:
                with self._publishers.open(self._source) as publisher:
                    self._publish_from(self._start_source(self._source, publisher), publisher)
            except Fenced as error:
                _log.warning("fenced", source=self._source, error=str(error))
                if not self._lease.confirm(pause_seconds=self._pace.fenced_pause_seconds):
                    return
            except TransientError as error:
                self._wait_after(error)
            except SourceRefused as error:
                _log.critical("source refused", source=self._source, error=str(error))
                self._progress.refused(self._source, error)
                self._lease.wait(self._pace.refused_pause_seconds)

    def _publish_from(self, checkpoint: Checkpoint, publisher: Publisher) -> None:
        rows = self._read(checkpoint)
        self._progress.reached(self._source, checkpoint)
        _log.info("publishing", source=self._source, seq=checkpoint.seq)
        idle_seconds = self._pace.shortest_poll_seconds
        while not self._lease.ended:
            if rows:
                checkpoint = rows[-1].checkpoint
                rows = self._publish(rows, publisher)
                idle_seconds = self._pace.shortest_poll_seconds
            elif self._wake_up.wait(idle_seconds):
                idle_seconds = self._pace.shortest_poll_seconds
            else:
                idle_seconds = min(idle_seconds * 2, self._pace.longest_poll_seconds)
            self._failures = 0
            rows = rows or self._read(checkpoint)

    def _publish(self, rows: Sequence[OutboxRow], publisher: Publisher) -> Sequence[OutboxRow]:
        """Publish a batch; the next one, where it was read meanwhile because this one was full."""
        began = time.monotonic()
        checkpoint = rows[-1].checkpoint
        publisher.publish(rows)
        following: Future[Sequence[OutboxRow]] | None = None
        if len(rows) == self._pace.batch_rows:
            following = self._reader.submit(self._read, checkpoint)
        publisher.commit()
        self._progress.reached(self._source, checkpoint)
        if following is not None:
            return following.result()
        self._lease.wait(began + self._pace.transaction_seconds - time.monotonic())
        return ()

    def _read(self, checkpoint: Checkpoint) -> Sequence[OutboxRow]:
        return self._outbox.read(checkpoint, limit=self._pace.batch_rows)

    def _wait_after(self, error: TransientError) -> None:
        longest = self._pace.longest_pause_seconds
        pause = min(longest, self._pace.first_pause_seconds * 2 ** min(self._failures, 16))
        pause *= random.uniform(0.5, 1)
        self._failures += 1
        _log.warning(
            "waiting to publish again",
            source=self._source,
            failures=self._failures,
            pause_seconds=round(pause, 2),
            error=str(error),
        )
        self._lease.wait(pause)
