"""How an instance's steps and input look in its row.

`steps` is a list of `[name, state, attempts, changed, error?, due?, output?, parked?,
failures?]`, times in milliseconds since 1970; what is empty at the end is left
out, since every change of a saga writes the whole of it. `send_times` has one such
time for each step, in the same order. Failures, each `[compensation, number, sent,
ended, error, retry]`, are read but not written: they stand in the books since
there are any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

from trackops_saga_orchestrator.domain.progress import Attempt, StepProgress, StepState
from trackops_saga_orchestrator.domain.steps import Json

__all__ = ["STEP_CODES", "decode_steps", "encode_input", "encode_send_times", "encode_steps"]

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode

STEP_CODES = {
    StepState.WAITING: "W",
    StepState.AWAITING: "A",
    StepState.SENT: "S",
    StepState.DONE: "D",
    StepState.SKIPPED: "K",
    StepState.REFUSED: "R",
    StepState.COMPENSATING: "-",
    StepState.COMPENSATED: "C",
    StepState.EXHAUSTED: "X",
}
"""How the state of a step stands in its row."""
_STATES = {code: state for state, code in STEP_CODES.items()}


def encode_input(value: Mapping[str, Json]) -> str:
    """For the column `input`."""
    return _encode(value)


def encode_steps(steps: Sequence[StepProgress]) -> str:
    """For the column `steps`."""
    return _encode([_row(step) for step in steps])


def encode_send_times(steps: Sequence[StepProgress]) -> str:
    """For the column `send_times`."""
    times = (str(_milliseconds(step.sent)) if step.sent else "NULL" for step in steps)
    return "{" + ",".join(times) + "}"


def decode_steps(
    rows: Sequence[Sequence[Any]], send_times: Sequence[int | None]
) -> Sequence[StepProgress]:
    """From the columns `steps`, parsed, and `send_times`, which may be empty."""
    pairs = zip_longest(rows, send_times)
    return [_step(_time(sent) if sent else None, *row) for row, sent in pairs]


def _row(step: StepProgress) -> list[Json]:
    row: list[Json] = [
        step.name,
        STEP_CODES[step.state],
        step.attempts,
        _milliseconds(step.update_time),
    ]
    if step.error or step.due or step.output or step.parked:
        due = _milliseconds(step.due) if step.due else 0
        row += [step.error, due, step.output]
    if step.parked:
        row.append(True)
    return row


def _step(
    sent: datetime | None,
    name: str,
    code: str,
    attempts: int,
    changed: int,
    error: str | None = "",
    due: int | None = 0,
    output: Mapping[str, Json] | None = None,
    parked: bool = False,
    failures: Sequence[Sequence[Any]] = (),
) -> StepProgress:
    return StepProgress(
        name,
        _STATES[code],
        _time(changed),
        attempts,
        error or "",
        _time(due) if due else None,
        output,
        parked,
        sent,
        [_failure(*one) for one in failures],
    )


def _failure(
    compensation: bool, number: int, sent: int, ended: int, error: str, retry: int
) -> Attempt:
    again = _time(retry) if retry else None
    return Attempt(compensation, number, _time(sent), _time(ended), error, again)


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
