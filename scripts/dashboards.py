"""Writes Grafana's dashboards from helm/trackops/observability/dashboards.yaml.

python scripts/dashboards.py           write helm/trackops/observability/dashboards/*.json
python scripts/dashboards.py --check   exit 1 if anything differs from what would be written
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).parent.parent / "helm" / "trackops" / "observability" / "dashboards.yaml"
FOLDER = TABLE.with_suffix("")

_COLUMNS = 24
"""Of Grafana's grid."""
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


def dashboard(table: Json) -> Json:
    """One entry of the table as Grafana reads it."""
    links = {"type": "dashboards", "title": "TrackOps", "tags": ["trackops"], "asDropdown": True}
    source = {"name": "datasource", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"trackops-{table['name']}",
        "title": table["title"],
        "tags": ["trackops"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source, *map(_variable, table.get("variables", []))]},
        "links": [{**links, "keepTime": True}],
        "panels": list(_panels(table["rows"])),
    }


def _variable(table: Json) -> Json:
    several = not table.get("one", False)
    return {
        "name": table["name"],
        "type": "query",
        "datasource": _SOURCE,
        "query": table["query"],
        "refresh": 2,
        "sort": 1,
        "multi": several,
        "includeAll": several,
        "current": {"text": "All", "value": "$__all"} if several else {},
    }


def _panels(rows: Sequence[Json]) -> Iterator[Json]:
    """Each row a line of its own, its panels side by side below it."""
    number, top = 0, 0
    for row in rows:
        panels = row["panels"]
        width, height = _COLUMNS // len(panels), 4 if panels[0].get("stat") else 8
        number += 1
        place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": row["title"], "gridPos": place}
        for column, panel in enumerate(panels):
            number += 1
            place = {"x": column * width, "y": top + 1, "w": width, "h": height}
            yield {"id": number, "gridPos": place, **_panel(panel)}
        top += 1 + height


def _panel(table: Json) -> Json:
    steps = [{"color": "green", "value": None}]
    if "red" in table:
        steps.append({"color": "red", "value": table["red"]})
    thresholds = {"mode": "absolute", "steps": steps}
    defaults = {"unit": table.get("unit", "short"), "min": 0, "thresholds": thresholds}
    return {
        "type": "stat" if table.get("stat") else "timeseries",
        "title": table["title"],
        "description": table.get("text", ""),
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": expression, "legendFormat": legend or "__auto"}
            for at, (legend, expression) in enumerate(table["queries"].items())
        ],
    }


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    wanted = {
        FOLDER / f"{table['name']}.json": json.dumps(dashboard(table), indent=1) + "\n"
        for table in yaml.safe_load(TABLE.read_text())
    }
    extra = set(FOLDER.glob("*.json")) - set(wanted)
    stale = {path for path, text in wanted.items() if not path.exists() or path.read_text() != text}
    if check:
        for path in sorted(stale | extra):
            print(f"{path.name} is stale: run scripts/dashboards.py", file=sys.stderr)
        return bool(stale | extra)
    FOLDER.mkdir(exist_ok=True)
    for path in extra:
        path.unlink()
    for path in stale:
        path.write_text(wanted[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
