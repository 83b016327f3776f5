"""Bodies that are wrong in every way, to every RPC: each is answered, and nothing breaks.

A short run in the ordinary suite; `make fuzz` makes a long one. FUZZ_CALLS and
FUZZ_SEED say how long, and which.
"""

from __future__ import annotations

import os

from rich.console import Console
from rich.table import Table

from trackops_cli.testing import Mesh

from .fuzzing import Fuzzer
from .samples import Known
from .watch import defects, ill_formed_lines, pids, resident_bytes

CALLS = int(os.environ.get("FUZZ_CALLS", "3000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
_SHOWN = 5_000
"""Calls after which a run says how far it is."""
_MEBIBYTE = 1 << 20
_SLACK = 24 * _MEBIBYTE
"""What an allocator keeps, and caches that are not full yet."""
_BYTES_A_CALL = 512
"""Far less than any message that stayed behind, were it only one a call."""


def test_no_body_does_harm(hostile_mesh: Mesh, known: Known) -> None:
    fuzzer = Fuzzer(hostile_mesh, known, SEED)
    processes = pids(hostile_mesh)

    total = fuzzer.run(range(CALLS // 3))
    before = resident_bytes(hostile_mesh)
    for first in range(CALLS // 3, CALLS, _SHOWN):
        print(f"{total.calls} calls, {len(total.findings)} findings")  # noqa: T201
        total.add(fuzzer.run(range(first, min(first + _SHOWN, CALLS))))
    after = resident_bytes(hostile_mesh)

    _show(total.table(), _memory(before, after))
    assert total.findings == [], "\n".join(total.findings[:40])
    assert pids(hostile_mesh) == processes
    assert all(part.is_ready() for part in hostile_mesh.stack.services.values())
    assert defects(hostile_mesh) == []
    assert ill_formed_lines(hostile_mesh) == []
    allowed = _SLACK + _BYTES_A_CALL * CALLS
    assert {name: grown for name in before if (grown := after[name] - before[name]) > allowed} == {}


def _memory(before: dict[str, int], after: dict[str, int]) -> Table:
    table = Table("process", "MiB after a third", "MiB at the end", title=f"seed {SEED}", box=None)
    for name in before:
        table.add_row(name, *(f"{of[name] / _MEBIBYTE:.1f}" for of in (before, after)))
    return table


def _show(*tables: Table) -> None:
    console = Console(width=200)
    for table in tables:
        console.print(table)
