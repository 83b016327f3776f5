"""Where log lines go, and in which form."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from types import TracebackType
from typing import Any, Literal

import structlog

from trackops_common.current_call import add_call_fields
from trackops_common.logs.native import NativeLines
from trackops_common.logs.repeats import RepeatFilter
from trackops_common.logs.writer import LineHandler, LineWriter

__all__ = ["LogFormat", "configure_logging"]

LogFormat = Literal["auto", "json", "console"]

_log = logging.getLogger(__name__)


def configure_logging(service: str, *, level: str, log_format: LogFormat) -> LineWriter:
    """Send every log line of the process, third parties' included, to stderr in one form.

    That is Python's loggers and, in JSON, also what native code (gRPC's core, say)
    writes to stderr by itself. Call it once; lines that still wait are written when
    the process exits. The writer tells how many lines were lost.
    """
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    stderr = os.dup(sys.stderr.fileno())
    writer = LineWriter(stderr)
    handler = LineHandler(writer)
    handler.setFormatter(_formatter(service, console=console))
    handler.addFilter(RepeatFilter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_crash
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(service),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    atexit.register(writer.close)
    if not console:
        native = NativeLines(back_to=stderr)
        atexit.register(native.close)
    return writer


def _log_crash(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    _log.critical("stopped by a defect", exc_info=(kind, error, traceback))


def _shared(service: str) -> list[Any]:
    """What is done to every event where it happens, in the caller's context."""

    def add_service(_logger: Any, _method: str, event: Any) -> Any:
        event["service"] = service
        return event

    return [
        add_service,
        structlog.contextvars.merge_contextvars,
        add_call_fields,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(service: str, *, console: bool) -> logging.Formatter:
    ending: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if console:
        ending.append(structlog.dev.ConsoleRenderer())
    else:
        ending += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared(service), structlog.stdlib.ExtraAdder()], processors=ending
    )
