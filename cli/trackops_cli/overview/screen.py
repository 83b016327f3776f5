"""The survey for people: one screen."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from trackops_cli.local.stack import PartStatus
from trackops_cli.overview.survey import MOST_SAGAS, Survey

__all__ = ["screen"]


def screen(found: Survey) -> RenderableType:
    """What runs, what waits, and which orders need somebody."""
    return Group(*_blocks(found))


def _blocks(found: Survey) -> Iterator[RenderableType]:
    yield _parts(found)
    if found.sources is not None:
        yield _sources(found)
    for label, figure in (("sagas", _sagas(found)), ("dead letters", _dead_letters(found))):
        yield Text(f"{label}: {figure}")
    yield from _complaints(found)


def _complaints(found: Survey) -> Iterator[Text]:
    """What somebody has to see to, and how."""
    red = [source.refusal for source in found.sources or () if source.refusal]
    away = [one for one in found.participants or () if one.HasField("away_since")]
    red += [f"{one.name} is away: {one.error}" for one in away]
    for line in (*red, *found.silent):
        yield Text(f"! {line}", style="red")
    for trouble in found.troubles:
        for one in trouble.advice:
            yield Text(f"! order {trouble.order_id}: {one.problem}", style="red")
            yield Text(f"  → {one.todo}")


def _parts(found: Survey) -> Table:
    table = _table("what", "address", "pid", "state")
    for part in found.parts:
        table.add_row(part.name, part.address, str(part.pid or "-"), _state_of(part))
    return table


def _sources(found: Survey) -> Table:
    table = _table("outbox", "checkpoint", "behind", "oldest", "quarantined", "state")
    for one in found.sources or ():
        age = found.age_seconds(one)
        table.add_row(
            one.name,
            str(one.checkpoint.seq),
            str(one.rows_behind),
            f"{age:.1f} s" if age else "-",
            f"[red]{one.quarantined_keys} keys[/]" if one.quarantined_keys else "-",
            "[red]stands still[/]" if one.refusal else "moves",
        )
    return table


def _sagas(found: Survey) -> str:
    if found.sagas is None:
        return "not known"
    counts = {name: count for name, count in found.sagas.items() if count}
    shown = (f"{_at_most(count)} {name}" for name, count in counts.items())
    return ", ".join(shown) or "none under way"


def _at_most(count: int) -> str:
    return f"{count} or more" if count >= MOST_SAGAS else str(count)


def _dead_letters(found: Survey) -> str:
    if not found.dead_letters:
        return "not known" if found.dead_letters is None else "none"
    return f"{found.dead_letters} (`trackops deadletters list`)"


def _state_of(part: PartStatus) -> str:
    if part.ready:
        return "[green]SERVING[/]"
    return "[red]down[/]" if part.pid is None else "[yellow]NOT SERVING[/]"


def _table(*names: str) -> Table:
    columns = [Column(name, no_wrap=True) for name in names]
    return Table(*columns, box=None, padding=(0, 2, 0, 0))
