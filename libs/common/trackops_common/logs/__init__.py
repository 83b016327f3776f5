"""Logs: one event a line, JSON for machines, colour on a terminal; a call never waits for them."""

from trackops_common.logs.configure import LogFormat, configure_logging
from trackops_common.logs.levels import LogLevels
from trackops_common.logs.writer import LineWriter

__all__ = ["LineWriter", "LogFormat", "LogLevels", "configure_logging"]
