"""Looks, now and then, for payments whose answer nobody asks for any more."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from trackops_common.errors import TransientError

__all__ = ["Sweeper"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Sweeper:
    """A `trackops_common.background.Loop` around `SweepPayments`."""

    sweep: Callable[[], int]
    """Returns how many payments were asked about."""
    interval_seconds: float
    """On average: replicas that start together are not to sweep together."""

    def __call__(self, stop: threading.Event) -> None:
        while not stop.wait(self.interval_seconds * random.uniform(0.5, 1.5)):  # noqa: S311 - jitter
            try:
                if asked := self.sweep():
                    _log.info("asked the payment provider again", payments=asked)
            except TransientError as error:
                _log.warning("payments not swept; will try again", error=str(error))
