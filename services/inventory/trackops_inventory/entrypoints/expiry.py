"""Looks again and again for reservations whose time is over."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from trackops_common.background import Loop
from trackops_common.errors import TransientError

__all__ = ["expiry_loop"]

_log = structlog.get_logger(__name__)


def expiry_loop(expire: Callable[[], int], *, interval_seconds: float) -> Loop:
    """Calls `expire`, which says how many it released, until it finds none; then it pauses.

    A pass that meets a transient error is left to the next.
    """

    def run(stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                released = expire()
            except TransientError as error:
                _log.warning("reservations not expired; will try again", error=str(error))
                released = 0
            if released:
                _log.info("reservations expired", count=released)
            else:
                stop.wait(interval_seconds)

    return run
