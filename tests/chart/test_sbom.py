"""The bill of materials that every image carries."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]


def _printed(about: str) -> subprocess.CompletedProcess[str]:
    """Of what is installed here, as an image's build asks for what is installed there."""
    command = [sys.executable, "-I", str(_ROOT / "scripts" / "sbom.py"), about]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@cache
def _bill() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_printed("trackops_order").stdout)
    return found


def test_it_names_what_is_locked_at_the_version_of_the_lock() -> None:
    files = [_ROOT / "requirements" / name for name in ("lock.txt", "bootstrap.txt")]
    lines = "".join(file.read_text() for file in files)
    locked = dict(re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^ ;]+)", lines, flags=re.MULTILINE))
    listed = {one["name"]: one["version"] for one in _bill()["components"]}
    foreign = {name for name in listed if not name.startswith("trackops-")} - {"pip"}
    assert {"grpcio", "protobuf", "sqlalchemy", "trackops-common"} <= listed.keys()
    assert {name: listed[name] for name in foreign} == {name: locked.get(name) for name in foreign}


def test_it_is_about_the_service_and_leads_from_it_to_what_it_needs() -> None:
    about = _bill()["metadata"]["component"]
    assert about["type"] == "application"
    assert about["purl"] == "pkg:pypi/trackops-order@0.1.0"
    refs = [about["bom-ref"], *(one["bom-ref"] for one in _bill()["components"])]
    needs = {one["ref"]: one["dependsOn"] for one in _bill()["dependencies"]}
    assert sorted(needs) == sorted(refs)
    assert {ref for found in needs.values() for ref in found} <= set(refs)
    assert "pkg:pypi/trackops-common@0.1.0" in needs[about["bom-ref"]]


def test_the_same_packages_give_the_same_bytes() -> None:
    assert _printed("trackops-order").stdout == _printed("trackops-order").stdout


def test_what_is_not_installed_has_none() -> None:
    assert _printed("trackops-nothing").returncode != 0
