"""How an instance's steps and input look in its row.

`steps` is a list of `[name, state, attempts, changed, error?, due?, output?]`, times in
milliseconds since 1970; what is empty at the end is left out, since every
change of a saga writes the whole of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trackops_saga_orchestrator.domain.progress import StepProgress, StepState
from trackops_saga_orchestrator.domain.steps import Json

__all__ = ["decode_steps", "encode_input", "encode_steps"]

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode

_CODES = {
    StepState.WAITING: "W",
    StepState.SENT: "S",
    StepState.DONE: "D",
    StepState.SKIPPED: "K",
    StepState.REFUSED: "R",
    StepState.COMPENSATING: "-",
    StepState.COMPENSATED: "C",
    StepState.EXHAUSTED: "X",
}
_STATES = {code: state for state, code in _CODES.items()}


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
        _CODES[step.state],
        step.attempts,
        _milliseconds(step.update_time),
    ]
    if step.error or step.due or step.output:
        due = _milliseconds(step.due) if step.due else 0
        row += [step.error, due, step.output]
    return row


def _step(
    name: str,
    code: str,
    attempts: int,
    changed: int,
    error: str = "",
    due: int = 0,
    output: Mapping[str, Json] | None = None,
) -> StepProgress:
    return StepProgress(
        name,
        _STATES[code],
        _time(changed),
        attempts,
        error,
        _time(due) if due else None,
        output,
    )


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
