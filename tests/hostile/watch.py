"""What the processes of a mesh show of harm that was done to them."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from trackops_cli.testing import Mesh

from .texts import harmful

__all__ = ["defects", "ill_formed_lines", "pids", "resident_bytes"]

_READINGS = 15
_BETWEEN_READINGS_SECONDS = 0.2
_pause = threading.Event().wait

_ORDERED = ("saga needs an operator",)
"""What an administrator brings about who takes a saga's steps in its stead."""

_FOR_PEOPLE = "The first administrator: "
"""Said once, at the first start of a development mesh, to whoever looks at the log."""


def pids(mesh: Mesh) -> Mapping[str, int | None]:
    """Of services and edge, by name; None for one that does not run."""
    parts = {**mesh.stack.services, "edge": mesh.stack.edge}
    return {name: part.process.pid for name, part in parts.items()}


def resident_bytes(mesh: Mesh) -> dict[str, int]:
    """Memory that each of these processes keeps: the least that it has in use in three seconds.

    A password that is just being hashed takes 64 MiB for a moment.
    """
    processes = {name: psutil.Process(pid) for name, pid in pids(mesh).items() if pid}
    least = dict.fromkeys(processes, sys.maxsize)
    for _ in range(_READINGS):
        for name, process in processes.items():
            least[name] = min(least[name], process.memory_info().rss)
        _pause(_BETWEEN_READINGS_SECONDS)
    return least


def defects(mesh: Mesh) -> list[str]:
    """Lines by which services say that something happened which must not."""
    return [
        f"{service}: {json.dumps(line)[:2_000]}"
        for service, line in _lines(mesh)
        if line.get("event") not in _ORDERED
        and (line.get("level") in ("error", "critical") or "exception" in line)
    ]


def ill_formed_lines(mesh: Mesh) -> list[str]:
    """Lines of services that are not one JSON object, or have what steers a terminal."""
    return [
        f"{log.stem}: {line[:300]!a}"
        for log in _logs(mesh)
        for line in log.read_bytes().decode(errors="replace").splitlines()
        if (harmful(line) or not _is_object(line)) and not line.startswith(_FOR_PEOPLE)
    ]


def _lines(mesh: Mesh) -> Iterator[tuple[str, dict[str, Any]]]:
    for log in _logs(mesh):
        for line in log.read_text().splitlines():
            if _is_object(line):
                yield log.stem, json.loads(line)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _logs(mesh: Mesh) -> list[Path]:
    """Those of our own processes."""
    names = {*mesh.stack.services, "edge"}
    return [log for log in mesh.stack.context.home.logs.iterdir() if log.stem in names]
