"""Which lines are written, changed while the service runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping

__all__ = ["LogLevels"]


class LogLevels:
    """The levels of the process's loggers; a logger without one has that of its parent."""

    def set(self, logger: str, level: str) -> None:
        """Write a logger's lines from this level on.

        Args:
            logger: a module such as `trackops_order.adapters`, which includes those
                below it; empty: all of them.
            level: "debug", "info", "warning" or "error"; empty: that of the parent
                again. The root, which has none, then has "info".

        Raises:
            ValueError: it is none of these.
        """
        if not level:
            logging.getLogger(logger).setLevel(logging.NOTSET if logger else logging.INFO)
            return
        if level not in ("debug", "info", "warning", "error"):
            raise ValueError(level)
        logging.getLogger(logger).setLevel(level.upper())

    def of(self, logger: str) -> str:
        """The level that was set, in lower case; empty where the parent's counts."""
        level = logging.getLogger(logger).level
        return "" if level == logging.NOTSET else logging.getLevelName(level).lower()

    def every(self) -> Mapping[str, str]:
        """The loggers that have a level of their own, by name; the root's is empty."""
        names = [name for name, one in logging.root.manager.loggerDict.items() if _is_real(one)]
        return {name: level for name in ("", *sorted(names)) if (level := self.of(name))}


def _is_real(logger: object) -> bool:
    """Python keeps place-holders for parents that nobody has asked for."""
    return isinstance(logger, logging.Logger)
