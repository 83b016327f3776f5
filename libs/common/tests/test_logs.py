from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from typing import Any

import pytest
from trackops.order.v1 import order_service_pb2

from trackops_common.auth import Caller, Principal, enter_call
from trackops_common.current_call import call_fields, name_call
from trackops_common.logs import LogLevels
from trackops_common.logs.repeats import RepeatFilter
from trackops_common.logs.writer import LineWriter
from trackops_common.tracing import join_trace

START = """
import logging, os, sys, warnings
import structlog
from trackops_common.logs import LogLevels, configure_logging
log = structlog.get_logger("ours")
configure_logging("order", level="info", log_format="json")
"""


def lines_of(program: str, *, status: int = 0) -> Sequence[Mapping[str, Any]]:
    """What a process of this program logs; every line of its stderr is JSON."""
    done = subprocess.run(
        [sys.executable, "-c", START + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_every_source_of_lines_has_the_one_form() -> None:
    lines = lines_of("""
        log.info("ours", order_id="o-1")
        logging.getLogger("theirs").error("theirs %d", 1, extra={"topic": "t"})
        warnings.warn("old")
        os.write(2, b"E0000 native code\\n")
    """)
    told = {line["event"]: line for line in lines}
    assert all(line["service"] == "order" and line["timestamp"] for line in lines)
    assert (told["ours"]["level"], told["ours"]["logger"]) == ("info", "ours")
    assert told["ours"]["order_id"] == "o-1"
    assert (told["theirs 1"]["level"], told["theirs 1"]["topic"]) == ("error", "t")
    assert any("UserWarning: old" in event for event in told)
    assert told["E0000 native code"]["logger"] == "stderr"


def test_line_stays_one_line_and_an_error_brings_its_traceback() -> None:
    (line,) = lines_of("""
        try:
            raise ValueError("two\\nlines")
        except ValueError:
            log.exception("a\\nb\\x1b[31m")
    """)
    assert line["event"] == "a\nb\x1b[31m"
    assert line["exception"].endswith("ValueError: two\nlines")


def test_what_waits_is_written_when_the_process_ends_by_a_defect() -> None:
    lines = lines_of(
        """
        for n in range(1000):
            log.debug("not asked for")
            logging.getLogger("many").critical("line %d", n)
        raise SystemError("the end")
        """,
        status=1,
    )
    events = [line["event"] for line in lines]
    assert events[:1000] == [f"line {n}" for n in range(1000)]
    assert events[1000:] == ["stopped by a defect"]
    assert lines[-1]["exception"].endswith("SystemError: the end")


def test_level_is_changed_for_one_logger_while_it_runs() -> None:
    lines = lines_of("""
        other = structlog.get_logger("other")
        log.debug("early")
        LogLevels().set("ours", "debug")
        log.debug("asked for")
        other.debug("not asked for")
        LogLevels().set("ours", "")
        log.debug("late")
    """)
    assert [line["event"] for line in lines] == ["asked for"]


def test_levels_are_listed_and_unknown_ones_refused() -> None:
    levels = LogLevels()
    levels.set("test.levels", "error")
    assert levels.every()["test.levels"] == levels.of("test.levels") == "error"
    assert levels.every()[""]
    levels.set("test.levels", "")
    assert "test.levels" not in levels.every()
    with pytest.raises(ValueError, match="loud"):
        levels.set("test.levels", "loud")


def test_who_logs_never_waits_for_who_reads() -> None:
    reader, descriptor = os.pipe()
    writer = LineWriter(descriptor, waiting_lines=10)
    for _ in range(200):
        writer.write("x" * 4096)
    assert 0 < writer.lost < 200
    taken = 200 - writer.lost
    with os.fdopen(reader) as lines:
        seen = [next(lines) for _ in range(taken)]
        writer.close()
        os.close(descriptor)
    assert seen == ["x" * 4096 + "\n"] * taken


def test_lost_lines_are_told_when_there_is_room_again(caplog: pytest.LogCaptureFixture) -> None:
    reader, descriptor = os.pipe()
    writer = LineWriter(descriptor, waiting_lines=10)
    for _ in range(200):
        writer.write("x" * 4096)
    with os.fdopen(reader) as lines:
        for _ in range(200 - writer.lost):
            next(lines)
        writer.close()
        os.close(descriptor)
    told = [record for record in caplog.records if record.msg.startswith("log lines were lost")]
    assert sum(record.__dict__["n"] for record in told) == writer.lost


class Repeats:
    """A filter on a clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0
        self._filter = RepeatFilter(repeats=2, window_seconds=10, clock=lambda: self.now)

    def pass_(self, text: str, level: int = logging.WARNING, *values: object) -> bool:
        record = logging.LogRecord("ours", level, "", 0, text, values, None)
        return self._filter.filter(record)


@pytest.fixture
def repeats() -> Repeats:
    return Repeats()


def test_repeats_are_held_back_and_counted(
    repeats: Repeats, caplog: pytest.LogCaptureFixture
) -> None:
    passed = [repeats.pass_("away %s", logging.WARNING, n) for n in range(5)]
    assert passed == [True, True, False, False, False]
    assert repeats.pass_("another")
    repeats.now = 10
    assert repeats.pass_("another")
    (record,) = caplog.records
    assert (record.msg, record.levelno) == ("lines held back", logging.WARNING)
    assert (record.__dict__["repeated"], record.__dict__["count"]) == ("away %s", 3)
    assert repeats.pass_("away %s", logging.WARNING, 6)


@pytest.mark.parametrize("level", [logging.DEBUG, logging.CRITICAL])
def test_what_was_asked_for_and_what_is_critical_is_never_held_back(
    repeats: Repeats, level: int
) -> None:
    assert all(repeats.pass_("again", level) for _ in range(50))


def test_line_names_the_call_it_belongs_to() -> None:
    call = order_service_pb2.GetOrderRequest(order_id="o-1")

    def within() -> Mapping[str, str]:
        join_trace([("traceparent", f"00-{'a' * 32}-{'b' * 16}-01")])
        enter_call(Caller(Principal("ada")))
        service = order_service_pb2.DESCRIPTOR.services_by_name["OrderService"]
        name_call(service.methods_by_name["GetOrder"], call)
        return call_fields()

    assert copy_context().run(within) == {
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
        "rpc": "trackops.order.v1.OrderService.GetOrder",
        "principal": "ada",
        "order_id": "o-1",
    }
    assert call_fields() == {}
