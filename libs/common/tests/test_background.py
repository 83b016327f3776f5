from __future__ import annotations

import threading

import pytest
from structlog.testing import capture_logs

from trackops_common.background import in_batches
from trackops_common.errors import TransientError

_PAUSE = 3600.0


def run(*answers: int | Exception) -> tuple[list[str], int]:
    """The log's events and the number of calls, of a loop whose last call stops it."""
    stop, left = threading.Event(), list(answers)

    def work() -> int:
        answer = left.pop(0)
        if not left:
            stop.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    with capture_logs() as logs:
        in_batches(work, what="rows swept", interval_seconds=_PAUSE)(stop)
    return [line["event"] for line in logs], len(answers) - len(left)


def test_work_goes_on_without_a_pause_while_there_is_some() -> None:
    assert run(5, 5, 0) == (["background work done"] * 2, 3)


def test_transient_error_is_told_and_not_the_end() -> None:
    events, _ = run(TransientError("away"))
    assert events == ["background work failed; will try again"]


def test_defect_ends_the_loop() -> None:
    with pytest.raises(ZeroDivisionError):
        run(5, ZeroDivisionError())
