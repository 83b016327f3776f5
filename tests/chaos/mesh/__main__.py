"""`python -m tests.chaos.mesh`: load and faults on the whole mesh, and a verdict.

CHAOS_MINUTES, CHAOS_SEED and CHAOS_RATE say how much of it, and which; CHAOS_FAULTS names the kinds
of faults, separated by commas (`none`: none); CHAOS_GAP is the time between two faults, in seconds.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from .broken import CLOCK_AHEAD, patched
from .load import Load
from .report import show
from .run import run
from .schedule import GAP_SECONDS, KINDS, schedule
from .world import open_world


def main() -> int:
    seconds = float(os.environ.get("CHAOS_MINUTES") or 5) * 60
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))
    rate = float(os.environ.get("CHAOS_RATE") or 35)
    named = os.environ.get("CHAOS_FAULTS", ",".join(KINDS))
    kinds = [kind.strip() for kind in named.split(",") if kind.strip() != "none"]
    gap = float(os.environ.get("CHAOS_GAP") or 0)
    gaps = (gap, gap) if gap else GAP_SECONDS
    planned = schedule(seed, seconds, kinds, gaps) if kinds else []
    console = Console(width=110, highlight=False)
    console.print(f"CHAOS_SEED={seed}: {len(planned)} faults planned", *map(str, planned), sep="\n")
    with TemporaryDirectory(prefix="trackops-chaos-") as folder:
        Path(folder).chmod(0o755)
        ahead = patched(Path(folder, "ahead"), [CLOCK_AHEAD])
        with open_world(ahead=ahead) as world:
            report = run(world, Load(rate, seconds, seed), planned, console.print)
    show(report, console)
    return 0 if report.sound else 1


if __name__ == "__main__":
    sys.exit(main())
