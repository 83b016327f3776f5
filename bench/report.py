"""docs/benchmarks.md from bench.json, and what the README says of it.

    python -m bench.report

It refuses a run that was not a whole one: its figures would say little.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.results import HEADINGS, Results, default_path, shown

__all__ = ["BEGIN", "END", "page", "summary", "write"]

_ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- table: written by make bench -->"
END = "<!-- end of table -->"
_SUMMARY_HEADINGS = ("what", "median", "aim", "met")

_HEAD = """\
# Benchmarks

Written by `make bench` from a whole run; not by hand. {begin_time}, {minutes:.0f} minutes on
{cores} cores ({processor}), {memory_gb} GB, Python {python}.

## How it is measured

Postgres with durable commits, Redis and Apache Kafka are real servers of the run's own, and share
these cores with the services and the load generators. Every figure is the median of {rounds}
rounds, beside the least and the greatest of them. A baseline is measured in the same round as its
figure, so that a machine which slows down slows both; a ratio is the median of the rounds' ratios.
Load generators are processes of their own, which send messages encoded beforehand; where one used
up its core, so that it was the limit, a note below the table says so. CPU is what the processes and
their children used, by the system's own count, the load generators' left out.

- *pgbench* writes the rows of CreateOrder, one order a transaction, with 32 clients and prepared
  statements.
- *echo* is a bare `grpc.aio` server on the same event loop, which decodes and encodes the same
  messages as GetOrder.
- *Confirmed* orders are counted in Postgres. The load never has more than 600 orders on their way,
  so it offers what the mesh can finish, and a backlog cannot grow; its growth stands in the table.
- The relay publishes for half a minute before it is measured: on servers that are new its latencies
  are about twice as long.
- The tables of a million orders are filled by SQL with copies of real ones that were confirmed, in
  every table of the order service, inventory, payment and the saga orchestrator. The baseline at
  10,000 is measured before the tables are filled, in the same database.
- `BENCH_PARTS=orders,relay make bench` runs some of the themes: orders, confirmed, sagas, relay,
  size, idle.

## Figures
"""


def write(results: Results, root: Path = _ROOT) -> Path:
    """The page, and the table between the README's marks, where they lie below `root`."""
    target, readme = root / "docs" / "benchmarks.md", root / "README.md"
    target.write_text(page(results))
    before, _, rest = readme.read_text().partition(BEGIN)
    readme.write_text(f"{before}{BEGIN}\n{summary(results)}{END}{rest.partition(END)[2]}")
    return target


def summary(results: Results) -> str:
    """The figures for which there is an aim, as a Markdown table."""
    lines = [_line(_SUMMARY_HEADINGS), _line(["---"] * len(_SUMMARY_HEADINGS))]
    for row in results.rows():
        cells = dict(zip(HEADINGS, row, strict=True))
        if cells["aim"]:
            lines.append(_line([cells[heading] for heading in _SUMMARY_HEADINGS]))
    return "\n".join(lines) + "\n"


def page(results: Results) -> str:
    """As Markdown, with Mermaid's charts."""
    head = _HEAD.format(
        begin_time=results.begin_time,
        minutes=results.seconds / 60,
        rounds=results.rounds,
        **results.machine,
    )
    parts = [head, *_table(results), "", *(f"- {note}" for note in results.notes)]
    for plot in results.plots.values():
        parts += ["", f"## {plot['title']}", "", *_chart(plot)]
    return "\n".join(parts).rstrip() + "\n"


def _table(results: Results) -> Iterator[str]:
    yield _line(HEADINGS)
    yield _line(["---"] * len(HEADINGS))
    for key, *rest in results.rows():
        yield _line([f"`{key}`", *rest])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _chart(plot: Mapping[str, Any]) -> Iterator[str]:
    """One of Mermaid's, and its numbers as a table: the chart names neither curves nor points."""
    yield "```mermaid"
    yield "xychart-beta"
    yield f'    x-axis "{plot["x"]}" [{", ".join(_quoted(place) for place in plot["places"])}]'
    highest = max(max(values) for values in plot["curves"].values())
    yield f'    y-axis "{plot["y"]}" 0 --> {highest * 1.1:.4g}'
    for values in plot["curves"].values():
        yield f"    line [{', '.join(f'{value:g}' for value in values)}]"
    yield "```"
    yield ""
    yield _line([plot["x"], *plot["places"]])
    yield _line(["---"] * (len(plot["places"]) + 1))
    for name, values in plot["curves"].items():
        yield _line([f"{name} ({plot['y']})", *(shown(value) for value in values)])


def _quoted(place: str) -> str:
    return f'"{place}"'


def main() -> None:
    results = Results.read(default_path())
    if not results.whole:
        sys.exit(f"bench: {default_path()} is not of a whole run")
    print(write(results))


if __name__ == "__main__":
    main()
