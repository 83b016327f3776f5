"""One run: load and faults side by side, rest, the verdict."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

from .checker import check
from .faults import Windows, apply_all
from .gather import facts_at_rest, watched_vitals
from .history import History
from .load import Load, run_load
from .report import Report
from .schedule import Planned
from .world import World

__all__ = ["run"]


def run(
    world: World, load: Load, planned: Sequence[Planned], tell: Callable[[str], None]
) -> Report:
    """Judge what the world came to; `tell` gets a line for each fault as it begins."""
    history, windows = History(), Windows()
    failed: list[BaseException] = []

    def harm() -> None:
        try:
            apply_all(world, planned, windows, tell)
        except BaseException as error:  # for the thread that waits for this one
            failed.append(error)
            raise

    harming = threading.Thread(target=harm, name="faults")
    with watched_vitals(world) as vitals:
        with world.revived():
            harming.start()
            asyncio.run(run_load(world, load, history))
            harming.join()
        if failed:
            raise failed[0]
        facts = facts_at_rest(world, history, windows, vitals)
    return Report(load, windows.counts, facts, check(facts))
