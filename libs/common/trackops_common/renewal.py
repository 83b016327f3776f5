"""What another service gives out for a while, asked for again before it is stale."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from trackops_common.errors import DependencyUnavailable, TransientError

__all__ = ["Renewed"]

_log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS = 0.2
_LONGEST_RETRY_SECONDS = 30.0

T = TypeVar("T")


class Renewed(Generic[T]):
    """The newest value that was to be had. Any thread may use it.

    While its giver is away the value at hand goes on being used, however old:
    whoever is shown it decides whether it is still good.
    """

    def __init__(
        self,
        what: str,
        fetch: Callable[[], T],
        fresh_seconds: Callable[[T], float],
        *,
        on_value: Callable[[T], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            what: names the value in the log.
            fetch: blocks; raises TransientError where the giver is away.
            fresh_seconds: how long a value just fetched need not be renewed.
            on_value: is told each value, in the thread that fetched it.
            clock: monotonic, in seconds.
        """
        self._what = what
        self._fetch = fetch
        self._fresh_seconds = fresh_seconds
        self._on_value = on_value
        self._clock = clock
        self._fetching = threading.Lock()
        self._value: T | None = None
        self._renew_at = clock()
        self._tried_at: float | None = None
        self._failures = 0

    @property
    def at_hand(self) -> T | None:
        """The newest value, at once; None: there never was one."""
        return self._value

    @property
    def giver_answers(self) -> bool:
        """Whether the last attempt brought a value."""
        return self._failures == 0

    def get(self) -> T:
        """The value, renewed first where that is due.

        Raises:
            DependencyUnavailable: there is none at hand, and none to be had.
        """
        if self._clock() >= self._renew_at:
            self._renew(lambda: self._clock() >= self._renew_at)
        if self._value is None:
            raise DependencyUnavailable(self._what)
        return self._value

    def renew(self, *, unless_tried_within_seconds: float = 0.0) -> None:
        """Ask for a newer value now, unless somebody did so just before; never fails."""

        def is_due() -> bool:
            tried = self._tried_at
            return tried is None or self._clock() - tried >= unless_tried_within_seconds

        self._renew(is_due)

    def run(self, stop: threading.Event) -> None:
        """Keep the value fresh until `stop` is set (a `trackops_common.background.Loop`)."""
        while not stop.wait(max(0.0, self._renew_at - self._clock())):
            self._renew(lambda: self._clock() >= self._renew_at)

    def _renew(self, is_due: Callable[[], bool]) -> None:
        with self._fetching:
            if not is_due():  # somebody else did it while we waited
                return
            self._tried_at = self._clock()
            try:
                value = self._fetch()
            except TransientError as error:
                self._put_off(error)
                return
            if self._failures:
                _log.info("renewed again", what=self._what)
            self._failures = 0
            self._value = value
            self._renew_at = self._clock() + self._fresh_seconds(value)
            self._on_value(value)

    def _put_off(self, error: TransientError) -> None:
        self._failures += 1
        pause = min(_LONGEST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(self._failures, 16))
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        self._renew_at = self._clock() + pause * jitter
        _log.warning(
            "not renewed; will try again",
            what=self._what,
            error=str(error),
            failures=self._failures,
            at_hand=self._value is not None,
        )
