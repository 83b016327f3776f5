"""`make overload`: five times the orders that the mesh can take, and what becomes of them.

The mesh has one half of the machine's cores for itself, the generators have the
other: else the calls that are offered would take from the mesh what it needs to
answer them, and the measurement would be one of the scheduler. On two cores each
has one, so the figures are those of a mesh on a single core.

The orders come through the edge, as those of customers do: it is there that what is too
much is refused. That all come from one address is the one limit of it that is lifted.

The maximum is what 100 clients get answered who wait for their answers. Goodput
is what is accepted within a client's deadline. What is accepted is a row in
Postgres, once, and is confirmed in the end: the backlog is worked off before the
verdict. Exits 1 where the promise is not kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2
from rich.console import Console
from rich.table import Table

from bench.channels import trust
from bench.figures import percentile
from bench.generator import load
from bench.mesh import all_ended, mesh, warm_up
from bench.offered import Step
from bench.run import Run
from trackops_cli.local.ports import HOST
from trackops_cli.local.stack import LocalStack
from trackops_edge.settings import Limits, Rate

__all__ = ["Call", "Check", "Outcome", "judged"]

_TIMES = 5
_MAXIMUM_SECONDS = 20
_SECONDS = 60
_CALM_SECONDS = 15
_IN_FLIGHT = 100
_BACKLOG_SECONDS = 300
_WINDOW_SECONDS = 0.5

_GOODPUT = 0.8
_REFUSAL_SECONDS = 0.05
_RECOVERY_SECONDS = 5.0
_GENERATOR_BEHIND_SECONDS = 0.1

_PLENTY = Rate(burst=100_000, per_second=100_000)
_EDGE_LIMITS = Limits(per_client=_PLENTY, together=_PLENTY)

_ORDERS = "SELECT order_id::text FROM trackops_order.orders"


@dataclass(frozen=True)
class Call:
    """One that was offered; `due` counts from the first."""

    due: float
    seconds: float
    status: str
    retry_after_seconds: float | None
    order_id: str


@dataclass(frozen=True)
class Outcome:
    """What was measured."""

    maximum: float
    """Orders a second."""
    plan: Sequence[Step]
    """Half of the maximum, five times the maximum, and half of it again."""
    calls: Sequence[Call]
    rows: Sequence[str]
    """The ids of the orders that came to be meanwhile."""

    def during(self, step: int) -> Sequence[Call]:
        begin = sum(one.seconds for one in self.plan[:step])
        end = begin + self.plan[step].seconds
        return [call for call in self.calls if begin <= call.due < end]

    @property
    def goodput(self) -> float:
        return sum(call.status == "OK" for call in self.during(1)) / self.plan[1].seconds

    @property
    def refusals(self) -> Sequence[Call]:
        return [call for call in self.during(1) if call.status == "RESOURCE_EXHAUSTED"]

    @property
    def acknowledged(self) -> Sequence[str]:
        return [call.order_id for call in self.calls if call.status == "OK"]

    @property
    def unanswered(self) -> int:
        """Calls whose fate the client does not know: it had stopped to wait."""
        return sum(call.status not in ("OK", "RESOURCE_EXHAUSTED") for call in self.calls)

    @property
    def lost(self) -> int:
        return len(set(self.acknowledged) - set(self.rows))

    @property
    def doubled(self) -> int:
        """Orders that no call accounts for, and answers that share an order."""
        answers = self.acknowledged
        unknown = len(set(self.rows) - set(answers))
        return max(0, unknown - self.unanswered) + len(answers) - len(set(answers))

    @property
    def recovery_seconds(self) -> float:
        """From the end of the overload until nothing is refused or slower than before it.

        Slower is a median of half a second that is above twice the worst of such before.
        """
        worst = max(_median(window) for window in _windows(self.during(0)))
        normal = [_all_ok(one) and _median(one) <= 2 * worst for one in _windows(self.during(2))]
        bad = [number for number, good in enumerate(normal, 1) if not good]
        return max(bad, default=0) * _WINDOW_SECONDS


def _windows(calls: Sequence[Call]) -> Sequence[Sequence[Call]]:
    """By when they were due."""
    begin, by_window = min(call.due for call in calls), dict[int, list[Call]]()
    for call in calls:
        by_window.setdefault(int((call.due - begin) / _WINDOW_SECONDS), []).append(call)
    return [by_window[number] for number in sorted(by_window)]


def _median(calls: Sequence[Call]) -> float:
    return percentile([call.seconds for call in calls], 50)


def _all_ok(calls: Sequence[Call]) -> bool:
    return all(call.status == "OK" for call in calls)


@dataclass(frozen=True)
class Check:
    """A part of the promise, and whether it was kept; None: nothing was promised."""

    what: str
    found: str
    kept: bool | None = None


def judged(outcome: Outcome) -> Iterator[Check]:
    """Each part of the promise, with what was found."""
    offered, ratio = outcome.plan[1].rate, outcome.goodput / outcome.maximum
    refusals, others = outcome.refusals, Counter(call.status for call in outcome.during(1))
    bare = sum(call.retry_after_seconds is None for call in refusals)
    accepted = [call.seconds for call in outcome.during(1) if call.status == "OK"]
    unanswered = sum(others.values()) - others["OK"] - len(refusals)
    yield Check(f"maximum, {_IN_FLIGHT} calls in flight", f"{outcome.maximum:,.0f} orders/s")
    yield Check("offered", f"{offered:,.0f}/s, {offered / outcome.maximum:.1f} of the maximum")
    yield Check(
        "goodput, of the maximum", f"{outcome.goodput:,.0f}/s, {ratio:.2f}", ratio >= _GOODPUT
    )
    yield Check("accepted: median, p99", _milliseconds(accepted))
    yield Check(
        "calls by status",
        ", ".join(f"{n:,} {name}" for name, n in others.most_common()),
        not unanswered,
    )
    yield Check("refusals without RetryInfo", f"{bare:,}", bare == 0)
    waits = [call.seconds for call in refusals]
    yield Check(
        "refusals: median, p99",
        _milliseconds(waits),
        bool(waits) and percentile(waits, 99) < _REFUSAL_SECONDS,
    )
    yield Check(
        "recovered after",
        f"{outcome.recovery_seconds:.1f} s",
        outcome.recovery_seconds <= _RECOVERY_SECONDS,
    )
    yield Check(
        "acknowledged orders",
        f"{len(outcome.acknowledged):,}; {len(outcome.rows):,} rows, "
        f"{outcome.unanswered:,} calls unanswered",
    )
    yield Check("lost", f"{outcome.lost:,}", outcome.lost == 0)
    yield Check("doubled", f"{outcome.doubled:,}", outcome.doubled == 0)


def _milliseconds(values: Sequence[float]) -> str:
    return (
        ", ".join(f"{1000 * percentile(values, at):.1f} ms" for at in (50, 99))
        if values
        else "none"
    )


def _halves() -> tuple[set[int], set[int]]:
    """The cores of the mesh and those of the generators; a single one is for both."""
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    return (set(cores[:half]), set(cores[half:])) if half else (set(cores), set(cores))


def _measured(run: Run, stack: LocalStack, mine: set[int]) -> Outcome:
    os.sched_setaffinity(0, mine)
    warm_up(run, stack)
    target = f"{HOST}:{stack.context.ports.edge}"
    trust(stack.edge.certificate.authority)
    seconds = run.seconds(_MAXIMUM_SECONDS)
    run.say(f"the maximum, for {seconds} s")
    maximum = load(run, "create-order", target, seconds=seconds, in_flight=_IN_FLIGHT).per_s
    all_ended(stack, seconds=_BACKLOG_SECONDS)
    calm = Step(round(maximum / 2), run.seconds(_CALM_SECONDS))
    plan = [calm, Step(round(_TIMES * maximum), run.seconds(_SECONDS)), calm]
    before = set(_orders(stack))
    run.say(
        f"{plan[1].rate:,.0f} orders/s for {plan[1].seconds} s, between two times {calm.rate:,.0f}"
    )
    calls = _offer(run, target, plan)
    began = time.monotonic()
    all_ended(stack, seconds=_BACKLOG_SECONDS)
    run.say(f"every accepted order had ended {time.monotonic() - began:.0f} s later")
    return Outcome(maximum, plan, calls, [row for row in _orders(stack) if row not in before])


def _offer(run: Run, target: str, plan: Sequence[Step]) -> Sequence[Call]:
    steps = ",".join(f"{step.rate}x{step.seconds}" for step in plan)
    command = [sys.executable, "-m", "bench.offered", target, "--plan", steps]
    told: dict[str, Any] = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    )
    run.say(f"the generator took {told['cpu_share']:.0%} of a core")
    if told["unended"]:
        run.note(f"{told['unended']} calls had not ended long after their deadline")
    if told["behind_s"] > _GENERATOR_BEHIND_SECONDS:
        run.note(f"the generator was {told['behind_s']} s behind: it was the limit of its load")
    return [Call(*call) for call in told["calls"]]


def _orders(stack: LocalStack) -> Sequence[str]:
    with closing(psycopg2.connect(stack.admin_url)) as connection, connection.cursor() as cursor:
        cursor.execute(_ORDERS)
        return [order_id for (order_id,) in cursor.fetchall()]


def main() -> int:
    run, (theirs, mine) = Run.from_environment(), _halves()
    os.sched_setaffinity(0, theirs)
    with mesh(run, _EDGE_LIMITS) as stack:
        outcome = _measured(run, stack, mine)
    checks = list(judged(outcome))
    table = Table(
        "promise",
        "found",
        "kept",
        title=f"overload: mesh on {len(theirs)} core(s)",
        title_justify="left",
    )
    for check in checks:
        table.add_row(check.what, check.found, {True: "yes", False: "NO", None: ""}[check.kept])
    Console().print(table)
    return int(any(check.kept is False for check in checks) or bool(run.notes))


if __name__ == "__main__":
    sys.exit(main())
