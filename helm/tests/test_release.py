"""A release from its first install to its end, admitted and waited for by a real Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from .cluster import CHART, Cluster

_TRIAL = CHART / "ci" / "trial-values.yaml"
_SERVICES = ("order", "saga-orchestrator", "outbox-relay", "inventory", "payment", "identity")
_WORKLOADS = (*_SERVICES, "edge")
_SERVERS = ("postgres", "redis", "kafka")
_OF_OTHERS = (
    "cert-manager.io",
    "external-secrets.io",
    "monitoring.coreos.com",
    "gateway.networking.k8s.io",
)
"""Definitions that a cluster need not have."""


def test_a_release_lives(cluster: Cluster) -> None:
    _install(cluster)
    secrets = _secrets(cluster)
    _accounts_may_do_nothing(cluster)
    _upgrade(cluster)
    assert _secrets(cluster) == secrets, "an upgrade made secrets anew"
    cluster.helm("test", "trackops", "--timeout", "120s")
    _roll_back(cluster)
    assert _secrets(cluster) == secrets
    _uninstall(cluster)
    assert _secrets(cluster) == secrets, "what the data needs went with the release"


def _install(cluster: Cluster) -> None:
    cluster.deploy("install", CHART, "--values", _TRIAL)
    assert set(cluster.objects("deployments")) == {f"trackops-{name}" for name in _WORKLOADS}
    assert set(cluster.objects("statefulsets")) == {f"trackops-{name}" for name in _SERVERS}
    _all_are_ready(cluster)


def _upgrade(cluster: Cluster) -> None:
    changes = ("--set", "image.tag=9.9.9", "--set", "defaults.replicas=2")
    cluster.deploy("upgrade", CHART, "--values", _TRIAL, *changes)
    _all_are_ready(cluster)
    assert set(cluster.objects("poddisruptionbudgets")) == {
        f"trackops-{name}" for name in _WORKLOADS
    }
    for name in _SERVICES:
        deployment = cluster.objects("deployments")[f"trackops-{name}"]
        assert deployment["status"]["readyReplicas"] == 2
        assert _image(deployment).endswith(":9.9.9")
        nodes = {
            pod["spec"]["nodeName"]
            for pod in cluster.objects("pods").values()
            if pod["metadata"]["labels"].get("app.kubernetes.io/component") == name
            and "deletionTimestamp" not in pod["metadata"]
        }
        assert len(nodes) == 2, f"both pods of {name} are on one node"


def _roll_back(cluster: Cluster) -> None:
    cluster.deploy("rollback", "1")
    _all_are_ready(cluster)
    assert cluster.objects("poddisruptionbudgets") == {}
    assert not _image(cluster.objects("deployments")["trackops-order"]).endswith(":9.9.9")


def _uninstall(cluster: Cluster) -> None:
    cluster.helm("uninstall", "trackops", "--wait", "--timeout", "120s")
    for kind in ("deployments", "statefulsets", "services", "networkpolicies", "jobs"):
        assert cluster.objects(kind) == {}


def _all_are_ready(cluster: Cluster) -> None:
    for kind in ("deployments", "statefulsets"):
        for name in cluster.objects(kind):
            cluster.kubectl("rollout", "status", f"{kind}/{name}", "--timeout", "120s")
        for name, one in cluster.objects(kind).items():
            assert one["status"].get("readyReplicas") == one["spec"]["replicas"], name


def _accounts_may_do_nothing(cluster: Cluster) -> None:
    for name in _WORKLOADS:
        for verb, resource in (("get", "secrets"), ("list", "pods"), ("create", "jobs")):
            assert not cluster.may(f"trackops-{name}", verb, resource)
        assert not cluster.may(f"trackops-{name}", "*", "*")


def _secrets(cluster: Cluster) -> dict[str, Any]:
    """What is in the Secrets that the chart made; Helm keeps its own in others."""
    kept = cluster.objects("secrets").items()
    return {name: one["data"] for name, one in kept if name == "trackops-secrets"}


def _image(deployment: dict[str, Any]) -> str:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


@pytest.mark.parametrize("values", sorted(CHART.glob("ci/*-values.yaml")), ids=lambda p: p.name)
def test_the_api_server_admits_every_object(cluster: Cluster, values: Path) -> None:
    """Field by field: what a kind does not have, and what the level restricts, is refused."""
    rendered = cluster.helm("template", "admitted", CHART, "--values", values)
    known = [
        one
        for one in yaml.safe_load_all(rendered)
        if one and not one["apiVersion"].startswith(_OF_OTHERS)
    ]
    arguments = ("create", "--dry-run=server", "--validate=strict", "--warnings-as-errors")
    answer = cluster.kubectl(*arguments, "--filename", "-", given=yaml.safe_dump_all(known))
    assert len(answer.splitlines()) == len(known)
