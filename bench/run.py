"""How one run of the benchmarks goes: rounds, lengths, and what it has to say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from rich.console import Console

from bench.figures import Figure, Plot

__all__ = ["Run", "Theme"]

_ROUNDS = 3
_ORDERS = 1_000_000

_console = Console()


@dataclass(frozen=True)
class Run:
    """Told to every theme. Less than a whole run is for development: its figures say little."""

    rounds: int = _ROUNDS
    scale: float = 1.0
    """What every measured length of time is multiplied with."""
    orders: int = _ORDERS
    """How many fill the tables where their size matters."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the figures must know."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Run:
        """BENCH_ROUNDS, BENCH_SCALE and BENCH_ORDERS."""
        return cls(
            rounds=int(environment.get("BENCH_ROUNDS", _ROUNDS)),
            scale=float(environment.get("BENCH_SCALE", "1")),
            orders=int(environment.get("BENCH_ORDERS", _ORDERS)),
        )

    @property
    def is_whole(self) -> bool:
        return (self.rounds, self.scale, self.orders) == (_ROUNDS, 1.0, _ORDERS)

    def seconds(self, seconds: int) -> int:
        """A measured length of time, as this run has it."""
        return max(3, round(seconds * self.scale))

    def each_round(self, what: str) -> Iterator[int]:
        """The rounds' numbers from 1, each announced."""
        for number in range(1, self.rounds + 1):
            self.say(f"{what}, round {number} of {self.rounds}")
            yield number

    def say(self, line: str) -> None:
        """What goes on, for whoever waits."""
        _console.print(f"bench: {line}", markup=False, highlight=False, soft_wrap=True)

    def note(self, line: str) -> None:
        """Say it, and keep it beside the figures; once."""
        if line not in self.notes:
            self.notes.append(line)
            self.say(line)


Theme = Callable[[Run], Iterator[Figure | Plot]]
"""Measures on servers of its own, and yields each figure as soon as it is there."""
