"""The rules and dashboards of the chart, read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

__all__ = ["ALERTS", "ROOT", "alerts", "dashboard_queries", "recorded", "rules"]

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "helm" / "trackops" / "observability" / "alerts.yaml"
DASHBOARDS = ALERTS.parent / "dashboards"

Rule = dict[str, Any]

_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), *(?P<label>\w+)\)")


def rules() -> list[Rule]:
    """All of them, in their order."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[Rule]:
    """Those that call somebody."""
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> set[str]:
    """Metrics that rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def dashboard_queries() -> Iterator[tuple[str, str, set[str]]]:
    """Where it stands, PromQL with a value for each variable, and the labels its legend shows."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text())
        variables = {one["name"]: ".+" for one in board["templating"]["list"]}
        for one in board["templating"]["list"]:
            if one["type"] == "query":
                parts = _LABEL_VALUES.fullmatch(one["query"])
                assert parts is not None, one["query"]
                chosen = _filled(parts["selector"], variables).replace('="', '=~"')
                yield f"{path.stem}, variable {one['name']}", chosen, {parts["label"]}
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                where = f"{path.stem}, {panel['title']}"
                yield where, _filled(target["expr"], variables), shown


def _filled(query: str, variables: dict[str, str]) -> str:
    """Raises KeyError for a variable that the dashboard does not have."""
    known = {"__rate_interval": "5m", **variables}
    return re.sub(r"\$(\w+)", lambda found: known[found[1]], query)
