"""Writes the chart's values as a table, as the comments of values.yaml say them.

python scripts/values_table.py           write the table of helm/trackops/README.md
python scripts/values_table.py --check   exit 1 if it differs from what would be written
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

CHART = Path(__file__).parent.parent / "helm" / "trackops"
PAGE = CHART / "README.md"

BEGIN = "<!-- table: written by scripts/values_table.py -->"
END = "<!-- end of table -->"

_WHOLE = {"resources", "labels"}
"""Mappings that are one value."""


@dataclass(frozen=True)
class Value:
    """One line of the table. `path` is as `--set` takes it."""

    path: str
    default: str
    comment: str


def page(text: str) -> str:
    """The page with its table written anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = ["", "| value | default | what it says |", "|---|---|---|"]
    lines += [
        f"| `{one.path}` | {one.default} | {one.comment.replace('|', chr(92) + '|')} |"
        for one in values()
    ]
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n\n{END}{after}"


def values() -> Iterator[Value]:
    """Every value, and what stands above several with a comment."""
    text = (CHART / "values.yaml").read_text()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    yield from _below(root, "", text.splitlines())


def _below(node: yaml.MappingNode, path: str, lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        name = f"{path}.{key.value}".removeprefix(".")
        comment = _comment_above(key.start_mark.line, lines)
        if isinstance(value, yaml.MappingNode) and value.value and key.value not in _WHOLE:
            if comment:
                yield Value(name, "", comment)
            yield from _below(value, name, lines)
        else:
            default = yaml.safe_load(yaml.serialize(value))
            shown = json.dumps(default, ensure_ascii=False) if default != "" else ""
            yield Value(name, f"`{shown}`" if shown else "", comment)


def _comment_above(line: int, lines: list[str]) -> str:
    found: list[str] = []
    for above in reversed(lines[:line]):
        if not above.lstrip().startswith("#"):
            break
        found.append(above.lstrip().lstrip("#").strip())
    return " ".join(reversed(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if silent := [one.path for one in values() if not one.comment]:
        sys.exit(f"values: no comment says what {', '.join(silent)} is")
    text = PAGE.read_text()
    wanted = page(text)
    if not parser.parse_args().check:
        PAGE.write_text(wanted)
    elif text != wanted:
        sys.exit("values: run `python scripts/values_table.py` and commit the page")


if __name__ == "__main__":
    main()
