"""`make bench`: named figures, each beside its baseline, in one table.

    BENCH_PARTS=orders,relay python -m bench

Real servers with durable commits, on ports of their own. Writes bench.json into
the state directory, and docs/benchmarks.md when the run was whole: every theme,
at its full length. A theme that fails does not keep the others from running.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from bench import confirmed, idle, orders, relay, report, sagas, size
from bench.results import HEADINGS, Results, default_path
from bench.run import Run, Theme

_THEMES: Mapping[str, Theme] = {
    "orders": orders.measure,
    "confirmed": confirmed.measure,
    "sagas": sagas.measure,
    "relay": relay.measure,
    "size": size.measure,
    "idle": idle.measure,
}


def main() -> None:
    run, names = Run.from_environment(), _chosen()
    path = default_path()  # now: themes change the environment for what they start
    results = Results.begin(rounds=run.rounds, notes=run.notes)
    began, failed = time.monotonic(), []
    for name in names:
        if not _succeeds(run, name, results):
            failed.append(name)
            run.note(f"{name} failed")
        results.seconds = round(time.monotonic() - began)
        results.write(path)
    results.whole = run.is_whole and not failed and list(names) == list(_THEMES)
    results.write(path)
    _show(results)
    run.say(f"figures are in {path}")
    if results.whole:
        run.say(f"written {report.write(results)}")
    if failed:
        sys.exit(f"bench: failed: {', '.join(failed)}")


def _chosen() -> Sequence[str]:
    names = [name for name in os.environ.get("BENCH_PARTS", "").split(",") if name]
    unknown = [name for name in names if name not in _THEMES]
    if unknown:
        sys.exit(f"bench: BENCH_PARTS has {unknown[0]!r}; there are {', '.join(_THEMES)}")
    return names or list(_THEMES)


def _succeeds(run: Run, name: str, results: Results) -> bool:
    """Measures one theme; a failure is told, and what it had yielded stays."""
    try:
        for one in _THEMES[name](run):
            results.add(one)
    except (Exception, SystemExit):  # noqa: BLE001 - the other themes do not depend on it
        traceback.print_exc()
        return False
    return True


def _show(results: Results) -> None:
    machine = results.machine
    title = f"{machine['cores']} cores, Python {machine['python']}, {results.rounds} rounds"
    table = Table(title=title, title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for row in results.rows():
        table.add_row(*row)
    console = Console()
    console.print(table)
    for note in results.notes:
        console.print(f"note: {note}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
