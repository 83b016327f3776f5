"""What native code writes to stderr, as log lines.

gRPC's core and other libraries in C write lines of their own form to
descriptor 2. A collector that reads JSON cannot take them; so the descriptor
becomes a pipe, and what comes out of it is logged line by line.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading

__all__ = ["NativeLines"]

_STDERR = 2
_CLOSE_SECONDS = 5.0
_log = logging.getLogger("stderr")


class NativeLines:
    """Logs each line that is written to descriptor 2, until it is closed."""

    def __init__(self, *, back_to: int) -> None:
        """`back_to` is the descriptor of the true stderr, which a crash report goes to."""
        self._back_to = back_to
        faulthandler.enable(back_to)
        self._reader, writer = os.pipe()
        os.dup2(writer, _STDERR)
        os.close(writer)
        self._thread = threading.Thread(target=self._run, name="stderr", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the descriptor back; log what was written to it so far.

        A child process that holds the pipe open is not waited for beyond some seconds.
        """
        os.dup2(self._back_to, _STDERR)
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        with os.fdopen(self._reader, errors="backslashreplace") as lines:
            for line in lines:
                if text := line.rstrip():
                    _log.warning("%s", text)
