"""Keeps what is said about the saga definitions in step with them.

python scripts/saga_definitions.py           write docs/sagas.md's pictures and new hashes
python scripts/saga_definitions.py --check   exit 1 if anything differs from what would be written

The file of hashes pins every version that was ever committed: an instance may
live as long as it takes, and goes on with the version that it began with. So a
definition that changes gets a new version, and its older one stays in
`domain/definitions.py` until no instance of it lives (a service that lacks the
definition of a live instance does not start).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from trackops_saga_orchestrator.domain.definitions import DEFINITIONS
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import Step, WaitFor

ROOT = Path(__file__).parent.parent
HASHES = ROOT / "services" / "saga_orchestrator" / "definitions.json"
PAGE = ROOT / "docs" / "sagas.md"

BEGIN = "<!-- pictures: written by scripts/saga_definitions.py -->"
END = "<!-- end of pictures -->"


class ChangedWithoutVersion(Exception):
    """A definition differs from the one that was committed under its version."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} was changed; add a new version and keep this one for the sagas that live"
        )


def hashes(known: Mapping[str, str], definitions: Iterator[Saga]) -> Mapping[str, str]:
    """`known`, with the versions that are new.

    Raises:
        ChangedWithoutVersion: a known version has another hash now.
    """
    found = {f"{saga.name} v{saga.version}": saga.hash for saga in definitions}
    for name, value in found.items():
        if known.get(name, value) != value:
            raise ChangedWithoutVersion(name)
    return dict(sorted({**known, **found}.items()))


def page(text: str) -> str:
    """The page with its pictures drawn anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    pictures = "\n".join(line for saga in DEFINITIONS for line in _picture(saga))
    return f"{before}{BEGIN}\n{pictures}\n{END}{after}"


def _picture(saga: Saga) -> Iterator[str]:
    yield from ("", f"### {saga.name}, version {saga.version}", "", "```mermaid", "flowchart LR")
    for step in saga.steps:
        yield f"    {_id(step.name)}{_shape(step)}"
        yield from (f"    {_id(name)} --> {_id(step.name)}" for name in step.after)
        if step.compensate is not None:
            undo = f"{_id(step.name)}_undo"
            yield f'    {_id(step.name)} -. "undone by" .-> {undo}("{step.compensate}")'
    if saga.on_failure is not None:
        yield f'    failure["once all is undone<br/>{saga.on_failure}"]'
    yield "```"


def _shape(step: Step) -> str:
    action = f"wait for {step.action.event}" if isinstance(step.action, WaitFor) else step.action
    lines = [f"<b>{step.name}</b>", str(action), step.kind.value]
    if step.when is not None:
        lines.append(f"if {step.when.name}")
    if step.delay_seconds:
        lines.append(f"after {step.delay_seconds:g} s")
    return f'["{"<br/>".join(lines)}"]'


def _id(name: str) -> str:
    return name.replace("-", "_")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    try:
        pinned = hashes(json.loads(HASHES.read_text()), iter(DEFINITIONS))
    except ChangedWithoutVersion as error:
        sys.exit(f"saga definitions: {error}")
    wanted = {HASHES: json.dumps(pinned, indent=2) + "\n", PAGE: page(PAGE.read_text())}
    if not parser.parse_args().check:
        for path, text in wanted.items():
            path.write_text(text)
    elif any(path.read_text() != text for path, text in wanted.items()):
        sys.exit(
            "saga definitions: run `python scripts/saga_definitions.py` and commit the changes"
        )


if __name__ == "__main__":
    main()
