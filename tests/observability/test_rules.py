"""Each alert fires when it should, is silent when it should, and leads to a page."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from .files import ALERTS, ROOT, alerts

TESTS = sorted((Path(__file__).parent / "rules").glob("*.yaml"))


@pytest.fixture(scope="module")
def promtool() -> str:
    found = subprocess.run(
        [ROOT / "scripts" / "promtool.sh"], stdout=subprocess.PIPE, text=True, check=True
    )
    return found.stdout.strip()


def _succeeds(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_well_formed(promtool: str) -> None:
    _succeeds(promtool, "check", "rules", "--lint=all", "--lint-fatal", ALERTS)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_do_what_their_tests_say(promtool: str, path: Path) -> None:
    _succeeds(promtool, "test", "rules", path)


@cache
def _expectations() -> list[tuple[str, str]]:
    """The alerts and severities that tests name, and whether each fires: `fires` or `is silent`."""
    found = []
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for one in test["promql_expr_test"]:
                samples = one["exp_samples"]
                verdict = "fires" if samples else "is silent"
                told = one["expr"] + "".join(sample["labels"] for sample in samples)
                found.append((verdict, told))
    return found


def _names(rule: dict[str, Any], told: str) -> bool:
    name, severity = rule["alert"], rule["labels"]["severity"]
    patterns = re.findall(r'alertname=~?"([^"]*)"', told)
    severities = set(re.findall(r'severity="([^"]*)"', told))
    named = any(re.fullmatch(pattern, name) for pattern in patterns)
    return named and (not severities or severity in severities)


@pytest.mark.parametrize("verdict", ["fires", "is silent"])
def test_every_alert_is_seen_firing_and_silent(verdict: str) -> None:
    unseen = [
        (rule["alert"], rule["labels"]["severity"])
        for rule in alerts()
        if not any(_names(rule, told) for how, told in _expectations() if how == verdict)
    ]
    assert unseen == []


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_and_what_to_read(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(notes) == {"summary", "description", "runbook_url"}
    page = ROOT / notes["runbook_url"]
    assert page.parent == ROOT / "docs" / "runbooks"
    assert f"`{rule['alert']}`" in page.read_text()


def test_every_runbook_is_of_an_alert_and_in_the_index() -> None:
    folder = ROOT / "docs" / "runbooks"
    index = (folder / "README.md").read_text()
    pages = {path.name for path in folder.glob("*.md")} - {"README.md"}
    assert pages == {Path(rule["annotations"]["runbook_url"]).name for rule in alerts()}
    assert {page for page in pages if f"]({page})" not in index} == set()
    assert {rule["alert"] for rule in alerts() if f"`{rule['alert']}`" not in index} == set()
