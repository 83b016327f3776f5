"""The chart, rendered by Helm and read."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "CHART",
    "SCENARIOS",
    "Manifest",
    "Refused",
    "containers",
    "environment",
    "helm",
    "named",
    "of_kind",
    "render",
    "scenario",
]

_ROOT = Path(__file__).parents[2]
CHART = _ROOT / "helm" / "trackops"
SCENARIOS = {
    path.name.removesuffix("-values.yaml"): path for path in CHART.glob("ci/*-values.yaml")
}
"""Values that the chart is tested with, by name."""

Manifest = dict[str, Any]


class Refused(Exception):
    """Helm cannot render these values; the message is what it says."""


@cache
def helm() -> str:
    """The path of Helm."""
    found = subprocess.run(
        [_ROOT / "scripts" / "helm.sh"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def render(*files: Path, changes: Mapping[str, Any] | None = None) -> list[Manifest]:
    """What would be installed as release `trackops`, hooks included.

    `changes` maps a value's path (`a.b`) to what it is, over those of `files`.

    Raises:
        Refused: the chart or its schema does.
    """
    arguments = [str(word) for path in files for word in ("--values", path)]
    for path, value in (changes or {}).items():
        arguments += ["--set-json", f"{path}={json.dumps(value)}"]
    return list(_render(tuple(arguments)))


def scenario(name: str, changes: Mapping[str, Any] | None = None) -> list[Manifest]:
    """The same with the values of `ci/<name>-values.yaml`."""
    return render(SCENARIOS[name], changes=changes)


@cache
def _render(arguments: Sequence[str]) -> Sequence[Manifest]:
    command = [helm(), "template", "trackops", str(CHART), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr)
    return tuple(filter(None, yaml.safe_load_all(done.stdout)))


def of_kind(manifests: Sequence[Manifest], kind: str) -> dict[str, Manifest]:
    """Those of one kind by name."""
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def named(manifests: Sequence[Manifest], kind: str, name: str) -> Manifest:
    """The one of that kind and name."""
    return of_kind(manifests, kind)[name]


def containers(workload: Manifest) -> list[Manifest]:
    """Of a Deployment, StatefulSet, Job or Pod, those that run first included."""
    spec = workload["spec"]
    pod = spec["template"]["spec"] if "template" in spec else spec
    return [*pod.get("initContainers", ()), *pod["containers"]]


def environment(container: Manifest) -> dict[str, Any]:
    """By variable: its text, or where it comes from."""
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
