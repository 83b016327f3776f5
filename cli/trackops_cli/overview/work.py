"""Checks of what the services do: who answers, what stands still, what waits for an operator."""

from __future__ import annotations

from collections.abc import Iterator

from trackops_cli.overview.findings import Finding, fine, wrong
from trackops_cli.overview.survey import Survey

__all__ = ["judge"]

_OLD_SECONDS = 60.0


def judge(found: Survey) -> Iterator[Finding]:
    """What the survey shows, thing by thing."""
    yield from _services(found)
    yield from _outboxes(found)
    yield from _sagas(found)
    if found.dead_letters:
        what = f"{found.dead_letters} dead letters wait"
        todo = "`trackops deadletters list` says why; then `trackops deadletters replay`"
        yield wrong("work", what, todo)
    elif found.dead_letters is not None:
        yield fine("work", "no dead letters")


def _services(found: Survey) -> Iterator[Finding]:
    for part in found.parts:
        if part.ready:
            yield fine("services", f"{part.name} answers at {part.address}")
        else:
            state = "is down" if part.pid is None else "runs, and does not say SERVING"
            todo = f"`trackops up`; logs/{part.name}.log in TRACKOPS_HOME says why"
            yield wrong("services", f"{part.name} at {part.address} {state}", todo)
    for line in found.silent:
        yield wrong("services", line, "`trackops status`; try again")


def _outboxes(found: Survey) -> Iterator[Finding]:
    for source in found.sources or ():
        age = found.age_seconds(source)
        if source.refusal:
            rebase = f"`trackops outbox rebase {source.name}` shows what can be done"
            yield wrong("work", source.refusal, rebase)
        elif age > _OLD_SECONDS:
            what = f"{source.name}: {source.rows_behind} rows wait, the oldest for {age:.0f} s"
            todo = "look at the outbox_relay's log, and whether Kafka takes transactions"
            yield wrong("work", what, todo)
        else:
            yield fine("work", f"{source.name} is published")
        if source.quarantined_keys:
            what = f"{source.name}: {source.quarantined_keys} keys in quarantine"
            yield wrong("work", what, f"`trackops outbox quarantine {source.name}` says why")


def _sagas(found: Survey) -> Iterator[Finding]:
    if found.sagas is None:
        return
    stuck = found.sagas.get("NEEDS_OPERATOR", 0)
    if stuck:
        what = f"{stuck} sagas need an operator"
        todo = "`trackops saga list --state NEEDS_OPERATOR`; `trackops status` says what to do"
        yield wrong("work", what, todo)
    else:
        yield fine("work", "no saga needs an operator")
    for one in found.participants or ():
        if one.HasField("away_since"):
            todo = f"bring {one.name} back; the sagas that wait for it go on by themselves"
            yield wrong("work", f"{one.name} is away for the orchestrator: {one.error}", todo)
