"""Whatever a rule or a dashboard names, the running mesh has, before anything has happened."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest
from prometheus_client.parser import text_string_to_metric_families

from trackops_cli.local.mesh import SERVICES
from trackops_cli.testing import Mesh, wait_for
from trackops_common.testing_http import get_blocking

from .files import alerts, dashboard_queries, recorded, rules
from .promql import Labels, Scrape, labels_in, strangers

_LATE = ("trackops_inbox_lag_messages", "trackops_outbox_rows_behind", "trackops_sagas")
"""What is asked of others first, at the latest some seconds after the start."""

_ONLY_WITH_TLS = {"trackops_tls_certificate_expiry_timestamp_seconds"}
"""The mesh of these tests speaks plain text."""


def _scrape(mesh: Mesh) -> Scrape:
    found: dict[str, list[Labels]] = defaultdict(list)
    for service in SERVICES:
        status, text = get_blocking(mesh.http(service.name), "/metrics")
        assert status == 200
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name].append(sample.labels)
    return found


@pytest.fixture(scope="module")
def scrape(mesh: Mesh) -> Scrape:
    """The mesh's own series, those that rules record, and Prometheus' series of alerts."""
    wait_for(lambda: all(name in _scrape(mesh) for name in _LATE), what="numbers of all kinds")
    return {
        **_scrape(mesh),
        **{name: [{}] for name in recorded() | _ONLY_WITH_TLS},
        "ALERTS": [
            {"alertname": one["alert"], "alertstate": "firing", **one["labels"]} for one in alerts()
        ],
    }


def test_rules_name_what_is_there(scrape: Scrape) -> None:
    found = {
        rule.get("alert") or rule["record"]: unknown
        for rule in rules()
        if (unknown := strangers(rule["expr"], scrape))
    }
    assert found == {}


def test_descriptions_name_labels_that_are_there(scrape: Scrape) -> None:
    for rule in alerts():
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"]))
        assert named <= labels_in(rule["expr"], scrape), rule["alert"]


def test_dashboards_name_what_is_there(scrape: Scrape) -> None:
    queries = list(dashboard_queries())
    assert len(queries) > 50
    found = {where: unknown for where, expr, _ in queries if (unknown := strangers(expr, scrape))}
    assert found == {}
    for where, expression, shown in queries:
        assert shown <= labels_in(expression, scrape), where


@pytest.mark.parametrize(
    "expression",
    [
        "trackops_saga",
        'trackops_sagas{state="NEEDS_OPERATORS"}',
        'trackops_sagas{status="RUNNING"}',
        'absent(trackops_service_ready{service=~"order"})',
        "max by (topic) (trackops_sagas)",
        "trackops_sagas / on (topic) trackops_sagas",
        'sum(rate(trackops_sagas{state!~".+"}[5m])) or vector(0)',
        'max_over_time(trackops_sagas{step="x"}[5m:1m])',
    ],
)
def test_what_is_not_there_is_found(expression: str) -> None:
    there = {
        "trackops_sagas": [{"definition": "place-order", "state": "RUNNING"}],
        "trackops_service_ready": [{"service": "trackops_order"}],
    }
    assert len(strangers(expression, there)) >= 1


def test_what_is_there_is_not_found_missing() -> None:
    there = {"a": [{"x": "1"}, {"x": "2"}], "b": [{"x": "1", "y": "2"}]}
    expression = 'sum by (x, instance) (rate(a{x=~"2|3", x!="1"}[5m])) / on (x) group_left (y) b'
    assert strangers(expression, there) == []
