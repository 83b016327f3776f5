"""`trackops status` and `trackops doctor`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from trackops_cli.calls import AS_JSON, REFUSED, print_json
from trackops_cli.local.errors import StackError
from trackops_cli.local.home import Home
from trackops_cli.overview.findings import Finding, wrong
from trackops_cli.overview.screen import screen
from trackops_cli.overview.survey import Survey, survey
from trackops_cli.overview.work import judge
from trackops_cli.terminal import OUT, local_stack, one_line_errors, print_wide, say

__all__ = ["doctor", "status"]


def status(
    every: Annotated[float, typer.Option(min=1, max=60, help="Seconds between two looks.")] = 2,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again.")] = False,
    as_json: AS_JSON = False,
) -> None:
    """Show what runs, what waits and which orders need somebody; exits 1 unless all answer."""
    if watch and as_json:
        raise typer.BadParameter("--watch is for people, --json for programs")
    with one_line_errors():
        if watch:
            _watch(every)
            return
        found = survey(local_stack())
        if as_json:
            print_json(found.document())
        else:
            print_wide(screen(found))
        if not _is_whole(found):
            raise typer.Exit(REFUSED)


def doctor(*, as_json: AS_JSON = False) -> None:
    """Check settings, servers, schemas, topics, rights and work; say what to do; exit 1 if any."""
    with one_line_errors():
        found = list(_findings())
        if as_json:
            print_json({"findings": [one.document() for one in found]})
        else:
            _print(found)
        if not all(one.ok for one in found):
            raise typer.Exit(REFUSED)


def _findings() -> Iterator[Finding]:
    from trackops_cli.overview import ground  # it loads every driver and Alembic

    secrets_file = Home.from_environment().secrets_file
    yield from ground.check_settings(secrets_file)
    if not secrets_file.exists():  # asking for the stack would make them
        return
    stack = local_stack()
    yield from ground.check_postgres(stack.admin_url)
    yield from ground.check_redis(stack.addresses.redis_url)
    yield from ground.check_kafka(stack.addresses.kafka)
    yield from ground.check_certificates(stack.authority, datetime.now(UTC))
    try:
        yield from judge(survey(stack))
    except StackError as error:
        yield wrong("services", f"they cannot be asked: {error}", "put that right first")


def _print(found: Sequence[Finding]) -> None:
    for one in found:
        sign = Text("✓ ", style="green") if one.ok else Text("✗ ", style="red")
        OUT.print(sign + Text(f"{one.area}: {one.what}"), soft_wrap=True, highlight=False)
        if one.todo:
            OUT.print(Text(f"  → {one.todo}"), soft_wrap=True, highlight=False)
    ills = sum(not one.ok for one in found)
    say(f"{len(found)} things looked at, {ills or 'nothing'} wrong")


def _watch(every_seconds: float) -> None:
    """A screen every so often, until Ctrl-C."""
    try:
        while True:
            found = survey(local_stack())
            OUT.clear()
            OUT.print(f"{found.time:%H:%M:%S} UTC, every {every_seconds:g} s", highlight=False)
            print_wide(screen(found))
            time.sleep(every_seconds)
    except KeyboardInterrupt:
        return


def _is_whole(found: Survey) -> bool:
    return all(part.ready for part in found.parts) and not found.silent
