"""Load generators as the benchmarks use them: a process, and what it counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.run import Run

__all__ = ["Loaded", "generate", "load"]

_IS_THE_LIMIT = 0.95
"""Of one core, which is all that a Python process has."""


@dataclass(frozen=True)
class Loaded:
    """What `bench.load` counted."""

    per_s: float
    calls: int
    """Answered, those of the warm-up too."""
    p50_ms: float
    p90_ms: float
    p99_ms: float


def load(
    run: Run,
    what: str,
    target: str,
    *,
    seconds: float,
    in_flight: int = 128,
    rate: float = 0,
    order_id: str = "",
) -> Loaded:
    """`bench.load` for `seconds`, after its warm-up; its options are there.

    Raises:
        SystemExit: a call failed.
    """
    words = [what, target, "--seconds", seconds, "--in-flight", in_flight, "--rate", rate]
    result = generate(run, "bench.load", *words, "--order-ids", order_id)
    return Loaded(**{name: result[name] for name in Loaded.__dataclass_fields__})


def generate(
    run: Run, module: str, *words: object, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What a generator printed; a note says so where it was itself the limit.

    Raises:
        SystemExit: a call failed, or the generator did.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"bench: {module} ended with {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    if result["errors"]:
        raise SystemExit(f"bench: {result['errors']} calls of {module} failed")
    if result["cpu_share"] > _IS_THE_LIMIT:
        run.note(f"{module} took {result['cpu_share']:.0%} of a core: it was the limit of its load")
    return result
