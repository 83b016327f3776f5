"""The product with one mechanism taken out, to see that the checker misses it.

Each variant is exact replacements in copies of the packages concerned, which a process finds
before the installed ones. A replacement whose text is gone fails loudly.

`python -m tests.chaos.mesh.broken [words of names]` runs each under load and says what caught it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from .load import Load
from .report import Report, show
from .run import run
from .schedule import schedule
from .world import open_world

__all__ = ["CLOCK_AHEAD", "VARIANTS", "Replacement", "TextGone", "Variant", "patched"]


@dataclass(frozen=True, slots=True)
class Replacement:
    """A text of one file, which stands there once, and what is to stand there instead."""

    file: str
    """Package and path, such as `trackops_common/clock.py`."""
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Variant:
    """A mechanism, and how it is taken out."""

    name: str
    replacements: Sequence[Replacement]
    kinds: Sequence[str]
    """The faults that are to show it; none where load alone does."""
    seconds: float = 40.0


class TextGone(Exception):
    """What a replacement replaces does not stand in its file just once."""

    def __init__(self, replacement: Replacement, times: int) -> None:
        super().__init__(f"{replacement.file} has this {times} times, not once: {replacement.old}")


def patched(folder: Path, replacements: Sequence[Replacement]) -> Path:
    """`folder`, made, with copies of the packages that the replacements are in.

    Raises TextGone.
    """
    for package in {Path(one.file).parts[0] for one in replacements}:
        spec = find_spec(package)
        assert spec is not None and spec.submodule_search_locations
        source = Path(spec.submodule_search_locations[0])
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder / package, ignore=ignored)
    for one in replacements:
        path = folder / one.file
        text = path.read_text()
        if (times := text.count(one.old)) != 1:
            raise TextGone(one, times)
        path.write_text(text.replace(one.old, one.new))
    return folder


CLOCK_AHEAD = Replacement(
    "trackops_common/clock.py",
    "        return datetime.now(UTC)\n",
    "        return datetime.fromtimestamp(datetime.now(UTC).timestamp() + 20, UTC)\n",
)
"""Less than the 30 s that are allowed between clocks."""

_SAGA = "trackops_saga_orchestrator"

VARIANTS: Sequence[Variant] = (
    Variant(
        "no advisory lock at the outbox",
        [
            Replacement(
                "trackops_common/outbox.py",
                "SELECT pg_advisory_xact_lock("
                "hashtextextended(current_schema() || '.outbox', 0));\n",
                "",
            )
        ],
        [],
    ),
    Variant(
        "checkpoint outside the transaction",
        [
            Replacement(
                "trackops_outbox_relay/adapters/publisher.py",
                "            for key, value in records_of(self._source, step):\n"
                "                produce(self._checkpoint_topic, value, key,"
                " partition=self._partition)\n",
                "            self._producer.commit_transaction(_REQUEST_SECONDS)\n"
                "            self._producer.begin_transaction()\n"
                "            for key, value in records_of(self._source, step):\n"
                "                produce(self._checkpoint_topic, value, key,"
                " partition=self._partition)\n",
            )
        ],
        ["kill -9 relay"],
        seconds=60.0,
    ),
    Variant(
        "no compare-and-set in the inbox",
        [
            Replacement(
                "trackops_common/positions.py",
                "   AND stored.next_offset = move.expected\nRETURNING",
                "RETURNING",
            )
        ],
        ["SIGSTOP orchestrator"],
    ),
    Variant(
        "no idempotency at the payment provider",
        [
            Replacement(
                "trackops_payment/application/asking.py",
                '    return AuthorizationRequest(f"authorize-{payment.order_id}", payment.terms)\n',
                "    import uuid\n"
                '    key = f"authorize-{payment.order_id}-{uuid.uuid4()}"\n'
                "    return AuthorizationRequest(key, payment.terms)\n",
            )
        ],
        ["lost answers"],
    ),
    Variant(
        "no check of the epoch in the orchestrator",
        [
            Replacement(
                f"{_SAGA}/adapters/saga_writes.py",
                " WHERE sagas.saga_id = new.saga_id AND sagas.epoch = new.epoch\n",
                " WHERE sagas.saga_id = new.saga_id\n",
            )
        ],
        ["SIGSTOP orchestrator"],
    ),
    Variant(
        "only steps that succeeded are undone",
        [
            Replacement(
                f"{_SAGA}/domain/instance.py",
                "        nothing_to_undo = self.definition.all_steps[name].compensate is None\n",
                "        nothing_to_undo = (\n"
                "            self.definition.all_steps[name].compensate is None\n"
                "            or step.state is not StepState.DONE\n"
                "        )\n",
            )
        ],
        ["lost answers"],
    ),
)


def main(words: Sequence[str]) -> int:
    """Each variant, or those whose names have one of the words; how many were not caught."""
    console = Console(width=110, highlight=False)
    table = Table("taken out", "caught by", title="Broken on purpose", show_lines=True)
    missed = 0
    for variant in VARIANTS:
        if not words or any(word in variant.name for word in words):
            report = _judged(variant, console)
            missed += report.sound
            table.add_row(variant.name, "\n".join(report.caught_by) or "NOTHING")
    console.print(table)
    return missed


def _judged(variant: Variant, console: Console) -> Report:
    rate = float(os.environ.get("CHAOS_RATE") or 25)
    seed = int(os.environ.get("CHAOS_SEED") or 1)
    planned = schedule(seed, variant.seconds, variant.kinds) if variant.kinds else []
    console.print(f"without: {variant.name}", style="bold")
    with TemporaryDirectory(prefix="trackops-chaos-") as folder:
        Path(folder).chmod(0o755)
        code = patched(Path(folder, "code"), variant.replacements)
        with open_world(code=code) as world:
            report = run(world, Load(rate, variant.seconds, seed), planned, console.print)
    show(report, console)
    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
