"""How a run went on: it is to be alike all along, but for the moments of the faults."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, quantiles

from rich.table import Table

from .checker import Facts
from .history import Outcome

__all__ = ["Minute", "minutes", "table"]

_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of the load."""

    number: int
    """From 0."""
    confirmed: int
    """Orders."""
    median_ms: float
    """Of an acknowledged CreateOrder, repeats included; 0 where there was none."""
    p99_ms: float
    memory_mib: float
    """Of all processes of the mesh together; 0 where nobody looked."""


def minutes(facts: Facts) -> list[Minute]:
    """Of a run, from its first call on; a last one that is not whole is left out."""
    calls = facts.history.calls
    if not calls:
        return []
    begin, end = min(one.began for one in calls), max(one.ended for one in calls)

    def number(at: float) -> int:
        return int((at - begin) // _SECONDS)

    waits: dict[int, list[float]] = defaultdict(list)
    for call in facts.history.of("create", Outcome.ACKNOWLEDGED):
        waits[number(call.began)].append(1000 * (call.ended - call.began))
    confirmed = Counter(map(number, facts.confirm_times))
    memory = _memory((number(one.at), one.process, one.memory_mib) for one in facts.vitals)
    return [
        Minute(n, confirmed[n], *_median_and_p99(waits[n]), memory.get(n, 0.0))
        for n in range(number(end))
    ]


def _memory(samples: Iterable[tuple[int, str, float]]) -> Mapping[int, float]:
    """By minute: the sum of what each replica had on average."""
    found: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number, process, mib in samples:
        replica = process.partition(" ")[0]  # whatever process it was at the time
        found[number][replica].append(mib)
    return {number: sum(map(mean, every.values())) for number, every in found.items()}


def _median_and_p99(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return (values[0], values[0]) if values else (0.0, 0.0)
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


def table(every: Sequence[Minute]) -> Table:
    """For people."""
    columns = ("minute", "confirmed", "CreateOrder: median, ms", "p99, ms", "memory, MiB")
    made = Table(*columns, title="minute by minute")
    for one in every:
        numbers = (one.median_ms, one.p99_ms, one.memory_mib)
        made.add_row(str(one.number), str(one.confirmed), *(f"{number:.0f}" for number in numbers))
    return made
