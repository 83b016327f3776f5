"""What a run came to, for people: a table of what happened and every violation with its history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from rich.console import Console
from rich.table import Table

from .checker import Facts, Violation
from .history import Call, Outcome
from .load import Load
from .minutes import minutes
from .minutes import table as minute_table

__all__ = ["Report", "show"]

_MOST_VIOLATIONS_OF_A_KIND = 5
_WORTH_A_TABLE = 3
"""Minutes."""


@dataclass(frozen=True)
class Report:
    """One run's end."""

    load: Load
    faults: Mapping[str, int]
    """How many of each kind."""
    facts: Facts
    violations: Sequence[Violation]

    @property
    def sound(self) -> bool:
        return not self.violations

    @property
    def caught_by(self) -> list[str]:
        """The invariants that were violated."""
        return sorted({one.invariant for one in self.violations})


def show(report: Report, console: Console) -> None:
    """Print it."""
    title = f"seed {report.load.seed}: {report.load.seconds:.0f} s of load"
    table = Table(title=title, show_header=False)
    for name, figure in _figures(report):
        table.add_row(name, figure)
    console.print(table)
    if len(every := minutes(report.facts)) >= _WORTH_A_TABLE:
        console.print(minute_table(every))
    counts = Counter(one.invariant for one in report.violations)
    histories = report.facts.history.by_order()
    for invariant, count in counts.items():
        console.print(f"✗ {invariant}: {count}", style="red", markup=False)
        about = [one for one in report.violations if one.invariant == invariant]
        for one in about[:_MOST_VIOLATIONS_OF_A_KIND]:
            console.print(f"  {one.order_id} {one.text}", markup=False, soft_wrap=True)
            for line in _told(report.facts, one.order_id, histories.get(one.order_id, [])):
                console.print(f"      {line}", markup=False, soft_wrap=True)
    console.print("Sound." if report.sound else "NOT SOUND.")


def _told(facts: Facts, order_id: str, calls: Sequence[Call]) -> Iterator[str]:
    """All that is known of one order."""
    if not order_id:
        return
    for _, alike in groupby(calls, key=lambda one: (one.kind, one.code, one.version)):
        first, *others = alike
        yield str(first) + (f", and {len(others)} times again" if others else "")
    yield f"order {facts.orders.get(order_id)}"
    yield f"reservation {facts.reservations.get(order_id)}"
    yield f"payment {facts.payments.get(order_id)}"
    yield from (str(saga) for saga in facts.sagas if saga.subject == order_id)
    for record in facts.records:
        if record.key == order_id:
            place = f"{record.topic}[{record.partition}]@{record.offset}"
            yield f"{place} v{record.version} {record.name}"


def _figures(report: Report) -> Iterator[tuple[str, str]]:
    facts, history = report.facts, report.facts.history
    calls = Counter(call.outcome for call in history.calls)
    yield "faults", ", ".join(f"{n} {kind}" for kind, n in sorted(report.faults.items())) or "none"
    yield "calls", ", ".join(f"{calls[outcome]} {outcome}" for outcome in Outcome)
    rest = Counter(call.code for call in history.calls if call.code.startswith("HTTP"))
    yield "of them over REST", _by_state(rest)
    yield "orders", _by_state(Counter(order.state for order in facts.orders.values()))
    sagas = Counter(f"{saga.definition} {saga.state}" for saga in facts.sagas)
    yield "sagas", _by_state(sagas)
    yield "events in Kafka", str(len(facts.records))
    yield "entries in the provider's ledger", str(len(facts.ledger))
    repeats = sum(
        n - 1 for n in Counter(c.request_id for c in history.calls if c.request_id).values()
    )
    yield "repeated requests", str(repeats)
    reused = [c for c in history.of("create other body") if c.outcome is Outcome.REFUSED]
    yield "reused ids refused", str(len(reused))
    turned = history.of("turn back", Outcome.ACKNOWLEDGED)
    yield "sagas turned back by the operator", str(len(turned))
    yield "longest time without a confirmed order", f"{_longest_stall(facts.confirm_times):.1f} s"
    yield "at rest after", f"{facts.clean_up_seconds:.1f} s"


def _by_state(counts: Mapping[str, int]) -> str:
    return f"{sum(counts.values())}: " + ", ".join(
        f"{n} {what}" for what, n in sorted(counts.items())
    )


def _longest_stall(times: Sequence[float]) -> float:
    return max((after - before for before, after in pairwise(times)), default=0.0)
