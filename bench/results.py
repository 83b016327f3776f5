"""What a run came to, as a document: bench.json, from which tables and pages are made."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bench.figures import Figure, Plot
from trackops_cli.local.home import Home

__all__ = ["HEADINGS", "Results", "default_path", "row", "shown"]

HEADINGS = ("key", "what", "median", "spread", "baseline", "aim", "met")
_WHOLE_FROM = 100
_VERDICTS = {True: "yes", False: "no", None: ""}


def default_path() -> Path:
    """In the state directory that the environment names now."""
    return Home.from_environment().root / "bench.json"


@dataclass
class Results:
    """Everything in it is JSON's; figures and plots are by their keys."""

    whole: bool
    """Whether nothing was left out or made shorter, and nothing failed."""
    begin_time: str
    """RFC 3339."""
    seconds: float
    rounds: int
    machine: Mapping[str, Any]
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    plots: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, *, rounds: int, notes: list[str]) -> Results:
        """Of a run that begins now; not whole until somebody says so."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(False, now, 0.0, rounds, _machine(), notes=notes)

    @classmethod
    def read(cls, path: Path) -> Results:
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")

    def add(self, one: Figure | Plot) -> None:
        (self.figures if isinstance(one, Figure) else self.plots)[one.key] = one.to_json()

    def rows(self) -> Iterator[Sequence[str]]:
        """Of the table with `HEADINGS`, a row a figure."""
        for key, figure in self.figures.items():
            yield row(key, figure)


def row(key: str, figure: Mapping[str, Any]) -> Sequence[str]:
    """What `HEADINGS` name, of a figure as `Figure.to_json` gives it."""
    values, unit = figure["values"], figure["unit"]
    baseline = figure["baseline"]
    if figure["baselines"]:
        baseline = f"{shown(statistics.median(figure['baselines']))} {baseline}"
    return (
        key,
        figure["what"],
        f"{shown(figure['median'])} {unit}".strip(),
        f"{shown(min(values))} … {shown(max(values))}",
        baseline,
        figure["aim"],
        _VERDICTS[figure["met"]],
    )


def shown(value: float) -> str:
    """At least three significant digits of it, for people."""
    return f"{value:,.0f}" if abs(value) >= _WHOLE_FROM else f"{value:.3g}"


def _machine() -> Mapping[str, Any]:
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "processor": _processor(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    """As Linux names it; elsewhere the architecture."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
