"""Lines that say the same again and again are thinned out, and counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["RepeatFilter"]

_REPEATS = 20
_WINDOW_SECONDS = 10.0
_log = logging.getLogger(__name__)

_Key = tuple[str, int, str]


@dataclass(slots=True)
class _Window:
    end: float
    seen: int = 0
    held_back: int = 0


class RepeatFilter(logging.Filter):
    """Lets the first lines of an event through in each window of time.

    An event is what its logger, level and text say, not its values: the text is
    one of the program's constants, so there are few. A line tells afterwards how
    many were held back. Debugging lines, which somebody asked for, and critical
    ones all pass.
    """

    def __init__(
        self,
        *,
        repeats: int = _REPEATS,
        window_seconds: float = _WINDOW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` counts seconds."""
        super().__init__()
        self._repeats = repeats
        self._window_seconds = window_seconds
        self._clock = clock
        self._windows: dict[_Key, _Window] = {}
        self._next_look = 0.0
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        if not logging.DEBUG < record.levelno < logging.CRITICAL or record.name == __name__:
            return True
        with self._lock:
            now = self._clock()
            ended = self._take_ended(now)
            passes = self._count(_key(record), now)
        for (name, level, text), count in ended:
            _log.log(level, "lines held back", extra={"of": name, "repeated": text, "count": count})
        return passes

    def _count(self, key: _Key, now: float) -> bool:
        window = self._windows.setdefault(key, _Window(now + self._window_seconds))
        window.seen += 1
        if window.seen <= self._repeats:
            return True
        window.held_back += 1
        return False

    def _take_ended(self, now: float) -> list[tuple[_Key, int]]:
        """Forget the windows that are over; what was held back in them."""
        if now < self._next_look:
            return []
        self._next_look = now + self._window_seconds / 10
        over = [key for key, window in self._windows.items() if window.end <= now]
        windows = [(key, self._windows.pop(key)) for key in over]
        return [(key, window.held_back) for key, window in windows if window.held_back]


def _key(record: logging.LogRecord) -> _Key:
    """structlog hands its event over as a dictionary in the place of the text."""
    text = record.msg.get("event", "") if isinstance(record.msg, dict) else record.msg
    return record.name, record.levelno, str(text)
