"""How an instance's steps and input look in its row.

`steps` is a list of `[name, state, attempts, changed, error?, due?, output?, parked?,
failures?]`, times in milliseconds since 1970; what is empty at the end is left
out, since every change of a saga writes the whole of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trackops_saga_orchestrator.domain.progress import FailedAttempt, StepProgress, StepState
from trackops_saga_orchestrator.domain.steps import Json

__all__ = ["STEP_CODES", "decode_steps", "encode_input", "encode_steps"]

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


def decode_steps(rows: Sequence[Sequence[Any]]) -> Sequence[StepProgress]:
    """From the column `steps`, parsed."""
    return [_step(*row) for row in rows]


def _row(step: StepProgress) -> list[Json]:
    row: list[Json] = [
        step.name,
        STEP_CODES[step.state],
        step.attempts,
        _milliseconds(step.update_time),
    ]
    if step.error or step.due or step.output:
        due = _milliseconds(step.due) if step.due else 0
        row += [step.error, due, step.output]
    if step.parked or step.failures:
        row += [None] * (7 - len(row))
        row += [step.parked, [_failure_row(one) for one in step.failures]]
    return row


def _failure_row(one: FailedAttempt) -> list[Json]:
    retry = _milliseconds(one.retry) if one.retry else 0
    sent, ended = _milliseconds(one.sent), _milliseconds(one.ended)
    return [one.compensation, one.number, sent, ended, one.error, retry]


def _failure(
    compensation: bool, number: int, sent: int, ended: int, error: str, retry: int
) -> FailedAttempt:
    again = _time(retry) if retry else None
    return FailedAttempt(compensation, number, _time(sent), _time(ended), error, again)


def _step(
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
        tuple(_failure(*one) for one in failures),
    )


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
