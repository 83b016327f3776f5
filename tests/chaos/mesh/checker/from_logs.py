"""What the processes wrote: errors at quiet times, and secrets at any time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from .facts import LogLine

__all__ = ["find_secrets", "read_errors"]

_LEVELS = {"error", "critical"}
_TOKEN = re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}")
_MOST_CHARACTERS = 400


def read_errors(logs: Path, excused: Callable[[float], bool]) -> Sequence[LogLine]:
    """Lines at error and above, and tracebacks, except those at a time that is excused."""
    return [
        line for log in sorted(logs.glob("*.json")) for line in _errors(log) if not excused(line.at)
    ]


def _errors(log: Path) -> Iterator[LogLine]:
    at = 0.0
    for text in log.read_text(errors="replace").splitlines():
        if not text.startswith("{"):
            if text.startswith("Traceback"):
                yield LogLine(log.stem, at, text)
            continue
        line = json.loads(text)
        at = datetime.fromisoformat(line["timestamp"]).timestamp()
        if line["level"] in _LEVELS:
            yield LogLine(log.stem, at, text[:_MOST_CHARACTERS])


def find_secrets(folders: Sequence[Path], secrets: Mapping[str, str]) -> Sequence[str]:
    """`<its name> in <file>` for each secret that stands in a file, and for anybody's token."""
    found = []
    for file in sorted(file for folder in folders for file in folder.iterdir() if file.is_file()):
        content = file.read_bytes()
        found += [
            f"{name} in {file.name}" for name, one in secrets.items() if one.encode() in content
        ]
        if _TOKEN.search(content):
            found.append(f"a token in {file.name}")
    return found
