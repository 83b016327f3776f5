"""Lines on their way to a file descriptor that may be slow, or not be read at all."""

from __future__ import annotations

import logging
import os
import queue
import threading

__all__ = ["LineHandler", "LineWriter"]

_WAITING_LINES = 10_000
_CLOSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


class LineWriter:
    """Writes lines in a thread of its own, so that whoever logs never waits."""

    def __init__(self, descriptor: int, *, waiting_lines: int = _WAITING_LINES) -> None:
        """Above `waiting_lines` that nobody took yet, lines are lost, and counted."""
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(waiting_lines)
        self._untold = 0
        self.lost = 0
        """Lines since the start that were not written."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Have a line written, without its end, or lose it."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.lost += 1
            self._untold += 1

    def close(self) -> None:
        """Write what waits; give up after some seconds where nobody reads."""
        try:
            self._lines.put(None, timeout=_CLOSE_SECONDS)
        except queue.Full:
            return
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._put(f"{line}\n".encode(errors="backslashreplace"))
            if self._untold:
                lost, self._untold = self._untold, 0
                _log.warning("log lines were lost: they came faster than read", extra={"n": lost})

    def _put(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # nobody reads any more, or the disk is full: there is no place to say so
            self.lost += 1


class LineHandler(logging.Handler):
    """Renders records where they happen and hands the line over."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self.format(record))
        except Exception:  # noqa: BLE001 - logging never breaks what logs
            self.handleError(record)
