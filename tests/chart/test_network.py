"""The NetworkPolicies allow the edges that the settings use, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from .chart import SCENARIOS, Manifest, containers, environment, of_kind, scenario

Edge = tuple[str, str, int]
"""From a component to another, at a port."""

_SERVERS = {"postgres": 5432, "redis": 6379, "kafka": 9092}


def _labels(manifest: Manifest) -> dict[str, str]:
    return dict(manifest["spec"]["template"]["metadata"]["labels"])


def _components(manifests: list[Manifest]) -> dict[str, dict[str, str]]:
    """The labels of each component's pods."""
    workloads = [one for one in manifests if "template" in one.get("spec", {})]
    found = {_labels(one)["app.kubernetes.io/component"]: _labels(one) for one in workloads}
    assert len(found) == len(workloads)
    return found


def _matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _allowed(manifests: list[Manifest], direction: str, peers: str) -> set[Edge]:
    """(component whose policy it is, component on the other side, port)."""
    components = _components(manifests)
    return {
        (mine, other, port["port"])
        for policy in of_kind(manifests, "NetworkPolicy").values()
        for mine, labels in components.items()
        if _matches(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get(direction, ())
        for port in rule["ports"]
        for peer in rule.get(peers, ())
        if set(peer) == {"podSelector"}
        for other, others in components.items()
        if _matches(peer["podSelector"], others)
    }


def _used(manifests: list[Manifest]) -> set[Edge]:
    """What workloads are told to reach, by the variables and the arguments of their containers."""
    services = {
        f"{name}:{port['port']}": (one["spec"]["selector"]["app.kubernetes.io/component"], port)
        for name, one in of_kind(manifests, "Service").items()
        for port in one["spec"]["ports"]
    }
    found = set()
    for workload in (one for one in manifests if "template" in one.get("spec", {})):
        mine = _labels(workload)["app.kubernetes.io/component"]
        for container in containers(workload):
            told = environment(container) if "env" in container else {}
            texts = [str(value) for name, value in told.items() if name.startswith("TRACKOPS_")]
            texts += container.get("command", [])
            found |= {
                (mine, component, port["port"])
                for address, (component, port) in services.items()
                if any(address in text for text in texts)
            }
            for name, value in told.items():
                server = {"TRACKOPS_DATABASE_URL": "postgres", "TRACKOPS_REDIS_URL": "redis"}
                if name in server and isinstance(value, dict):
                    found.add((mine, server[name], _SERVERS[server[name]]))
    return found


def test_policies_allow_exactly_what_settings_use() -> None:
    manifests = scenario("trial")
    used = _used(manifests)
    assert ("saga-orchestrator", "payment", 5055) in used
    assert ("order", "kafka", 9092) in used
    assert ("setup", "postgres", 5432) in used
    assert ("edge", "identity", 9056) in used
    out = _allowed(manifests, "egress", "to")
    into = {(other, mine, port) for mine, other, port in _allowed(manifests, "ingress", "from")}
    assert out == used
    assert into == used


@pytest.mark.parametrize("values", sorted(SCENARIOS))
def test_every_pod_is_denied_what_is_not_allowed(values: str) -> None:
    manifests = scenario(values)
    deny = of_kind(manifests, "NetworkPolicy")["trackops-deny"]["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny and "egress" not in deny
    for labels in _components(manifests).values():
        assert _matches(deny["podSelector"], labels)


def test_servers_outside_are_reached_at_their_ports_only() -> None:
    peer = {"ipBlock": {"cidr": "10.1.0.0/16"}}
    changes = {"networkPolicy.servers.redis": {"peers": [peer], "ports": [6380]}}
    manifests = scenario("minimal", changes)
    rule = {"ports": [{"port": 6380}], "to": [peer]}
    reaching = {
        name
        for name, policy in of_kind(manifests, "NetworkPolicy").items()
        if rule in policy["spec"].get("egress", ())
    }
    assert reaching == {"trackops-order", "trackops-identity"}


def test_they_can_be_left_out() -> None:
    manifests = scenario("minimal", {"networkPolicy.enabled": False})
    assert of_kind(manifests, "NetworkPolicy") == {}


def test_a_collector_of_traces_is_reached_by_every_service_and_only_if_there_is_one() -> None:
    def reaching(changes: dict[str, Any]) -> int:
        policies = of_kind(scenario("minimal", changes), "NetworkPolicy").values()
        rules = [rule for one in policies for rule in one["spec"].get("egress", ())]
        return rules.count({"ports": [{"port": 4317}]})

    assert reaching({}) == 0
    assert reaching({"otel.endpoint": "http://collector:4317"}) == 6
