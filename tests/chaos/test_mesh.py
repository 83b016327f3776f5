"""The whole mesh under faults, for a few seconds; `make chaos` does it for minutes."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from .mesh.broken import CLOCK_AHEAD, patched
from .mesh.load import Load
from .mesh.report import show
from .mesh.run import run
from .mesh.schedule import Planned
from .mesh.world import open_world

SECONDS = 8.0
ORDERS_PER_SECOND = 10.0
SEED = 20
FAULTS = (
    Planned(1.5, "cut half-way", "postgres", 0.3),
    Planned(2.5, "lost answers", "provider", 1.0),
    Planned(3.5, "new certificates", "all", 0.0),
    Planned(4.0, "kill -9", "saga_orchestrator/1", 0.3),
    Planned(5.5, "kill -9 edge", "edge/1", 0.3),
    Planned(6.0, "kill -9 server", "redis", 0.3),
)


def test_the_mesh_keeps_its_promise_under_faults(tmp_path: Path) -> None:
    console = Console(file=sys.stdout, width=110, highlight=False)
    ahead = patched(tmp_path / "ahead", [CLOCK_AHEAD])
    with open_world(ahead=ahead) as world:
        report = run(world, Load(ORDERS_PER_SECOND, SECONDS, SEED), FAULTS, console.print)
    show(report, console)

    assert report.violations == []
