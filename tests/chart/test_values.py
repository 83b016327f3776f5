"""Values that cannot be installed are refused by name; the rest does what it says."""

from __future__ import annotations

from typing import Any

import pytest

from .chart import SCENARIOS, Manifest, Refused, containers, named, of_kind, scenario

_SERVICES = ["identity", "inventory", "order", "outbox-relay", "payment", "saga-orchestrator"]
_WORKLOADS = ["edge", *_SERVICES]

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("minimal", {"database.secretName": ""}, "services.order.database.secretName is missing"),
    ("minimal", {"redis.url": ""}, "redis.url (or redis.urlSecret.name) is missing"),
    ("minimal", {"redis.url": "redis://u:p@h:1/0"}, "redis.url holds a user or password"),
    ("minimal", {"redis.urlSecret.name": "other"}, "redis.url and redis.urlSecret.name are both"),
    ("minimal", {"pageTokens.keySecret.name": ""}, "pageTokens.keySecret.name is missing"),
    ("minimal", {"identityKeys.secret.name": ""}, "identityKeys.secret.name is missing"),
    ("minimal", {"serviceClients.secretName": ""}, "serviceClients.secretName is missing"),
    ("minimal", {"kafka.bootstrapServers": ""}, "kafka.bootstrapServers is missing"),
    ("minimal", {"kafka.securityProtocol": "SASL_SSL"}, "kafka.passwordSecretName is missing"),
    ("minimal", {"kafka.passwordSecretName": "p"}, "kafka.passwordSecretName is set, and with"),
    ("minimal", {"servers.postgres.enabled": True}, "so is servers.postgres.enabled"),
    ("minimal", {"servers.redis.enabled": True}, "servers.redis.enabled is set, and so is"),
    ("minimal", {"servers.kafka.enabled": True}, "servers.kafka.enabled and kafka.bootstrap"),
    ("minimal", {"metrics.podAnnotations": True}, "networkPolicy.scrapers is empty"),
    ("minimal", {"services.order.tls": {"existingSecret": "t"}}, "would speak plain text"),
    ("trial", {"secrets.generate": False}, "need secrets.generate"),
    ("trial", {"kafka.securityProtocol": "SSL"}, "speaks PLAINTEXT"),
    ("trial", {"tls.existingSecret": "t"}, "tls.existingSecret and tls.generate are set"),
    ("trial", {"services.order.tls": {"existingSecret": "t"}}, "the chart makes certificates"),
    ("everything", {"secrets.generate": True}, "secrets.generate and secrets.external.remoteKey"),
    ("everything", {"secrets.external.storeRef.name": ""}, "storeRef.name is missing"),
    ("everything", {"metrics.podAnnotations": True}, "every number would be taken twice"),
    (
        "minimal",
        {"services.order.extraEnv": {"TRACKOPS_LISTEN": "x"}},
        "extraEnv of order sets TRACKOPS_LISTEN",
    ),
    ("minimal", {"edge.enabled": True}, "edge.https.existingSecret is missing"),
    ("minimal", {"edge.ingress.enabled": True}, "they lead to the edge"),
    ("trial", {"tls.callers": ["cli"]}, "tls.callers lacks edge"),
    ("trial", {"edge.ingress.enabled": True}, "edge.hosts is empty"),
    ("trial", {"edge.tls.existingSecret": "t"}, "edge.tls.existingSecret is set, and the chart"),
    ("production", {"edge.httpRoute.enabled": True}, "edge.httpRoute.parentRefs is empty"),
    ("production", {"edge.https.issuerRef.name": "i"}, "existingSecret and edge.https.issuerRef"),
    ("production", {"edge.image": "envoy"}, "/edge/image"),
    ("minimal", {"nonsense": 1}, "nonsense"),
    ("minimal", {"networkPolicy.servers.kafka.ports": [0]}, "/networkPolicy/servers/kafka/ports"),
]


@pytest.mark.parametrize(("values", "changes", "says"), REFUSED)
def test_values_that_contradict_each_other_are_refused(
    values: str, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused) as refused:
        scenario(values, changes)
    assert says in str(refused.value)


@pytest.mark.parametrize("values", sorted(SCENARIOS))
def test_every_container_is_at_the_restricted_level(values: str) -> None:
    manifests = scenario(values)
    workloads = [one for one in manifests if "template" in one.get("spec", {})]
    assert workloads
    for workload in workloads:
        pod = workload["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(workload):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("values", sorted(SCENARIOS))
def test_what_a_pod_mounts_or_reads_is_made_by_the_release_or_named_in_values(values: str) -> None:
    """No Secret or ConfigMap of the release's own names is missing from it."""
    manifests = scenario(values)
    made = set(of_kind(manifests, "Secret")) | set(of_kind(manifests, "ConfigMap"))
    made |= {one["spec"]["secretName"] for one in of_kind(manifests, "Certificate").values()}
    made |= {one["spec"]["target"]["name"] for one in of_kind(manifests, "ExternalSecret").values()}
    given = {"trackops-database", "trackops-order", "trackops-identity", "trackops-clients"}
    given |= {"trackops-tls", "trackops-redis"}
    own = {name for name in _names(manifests) if name.startswith("trackops-")}
    assert own - given <= made


def _names(node: Any) -> set[str]:
    """Of Secrets and ConfigMaps that something refers to."""
    if isinstance(node, list):
        return {name for one in node for name in _names(one)}
    if not isinstance(node, dict):
        return set()
    found = {name for one in node.values() for name in _names(one)}
    for key in ("secretKeyRef", "configMapKeyRef", "configMap"):
        if isinstance(node.get(key), dict):
            found.add(node[key]["name"])
    if isinstance(node.get("secret"), dict):
        found.add(node["secret"]["secretName"])
    return found


def test_generated_secrets_hold_whatever_is_read_from_them() -> None:
    manifests = scenario("trial")
    held = {
        (name, key) for name, one in of_kind(manifests, "Secret").items() for key in one["data"]
    }
    assert _keys(manifests)
    assert _keys(manifests) <= held


def _keys(node: Any) -> set[tuple[str, str]]:
    if isinstance(node, list):
        return {key for one in node for key in _keys(one)}
    if not isinstance(node, dict):
        return set()
    found = {key for one in node.values() for key in _keys(one)}
    if "secretKeyRef" in node:
        found.add((node["secretKeyRef"]["name"], node["secretKeyRef"]["key"]))
    return found


def test_several_pods_have_a_budget_and_one_has_none() -> None:
    assert of_kind(scenario("minimal"), "PodDisruptionBudget") == {}
    several = of_kind(scenario("production"), "PodDisruptionBudget")
    assert sorted(several) == [f"trackops-{name}" for name in _WORKLOADS]


def test_an_autoscaler_takes_the_place_of_replicas() -> None:
    manifests = scenario("everything")
    scalers = of_kind(manifests, "HorizontalPodAutoscaler")
    assert sorted(scalers) == [f"trackops-{name}" for name in _WORKLOADS]
    kinds = [one["type"] for one in scalers["trackops-outbox-relay"]["spec"]["metrics"]]
    assert kinds == ["Resource", "Object"]
    for deployment in of_kind(manifests, "Deployment").values():
        assert "replicas" not in deployment["spec"]


def test_a_pod_is_killed_only_after_it_could_stop_by_itself() -> None:
    changes = {"stopDelaySeconds": 7, "stopGraceSeconds": 30}
    manifests = scenario("trial", changes)
    service = named(manifests, "Deployment", "trackops-order")["spec"]["template"]["spec"]
    assert service["terminationGracePeriodSeconds"] == 57
    edge = named(manifests, "Deployment", "trackops-edge")["spec"]["template"]["spec"]
    assert edge["terminationGracePeriodSeconds"] == 47


@pytest.mark.parametrize("values", sorted(SCENARIOS))
def test_a_new_pod_is_ready_for_a_while_before_an_old_one_goes(values: str) -> None:
    """Longer than clients take to connect anew, which is 2 s at most."""
    for deployment in of_kind(scenario(values), "Deployment").values():
        assert deployment["spec"]["minReadySeconds"] > 2
        rolling = deployment["spec"]["strategy"]["rollingUpdate"]
        assert rolling == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_numbers_of_a_pod_are_scraped_once() -> None:
    manifests = scenario("everything")
    (monitor,) = of_kind(manifests, "ServiceMonitor").values()
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    scraped = [
        one["spec"]["selector"]["app.kubernetes.io/component"]
        for one in of_kind(manifests, "Service").values()
        if wanted <= one["metadata"]["labels"].items()
        and endpoint["port"] in {port["name"] for port in one["spec"]["ports"]}
    ]
    assert sorted(scraped) == _WORKLOADS


def test_selectors_hold_no_version() -> None:
    changed = scenario("trial", {"image.tag": "9.9.9"})
    for kind in ("Deployment", "StatefulSet"):
        before, after = of_kind(scenario("trial"), kind), of_kind(changed, kind)
        assert before.keys() == after.keys()
        for name, one in before.items():
            assert one["spec"]["selector"] == after[name]["spec"]["selector"]


def test_the_setup_migrates_every_service_and_makes_topics() -> None:
    setup = _job(scenario("minimal"))
    assert sorted(one["name"] for one in containers(setup)) == sorted([*_SERVICES, "topics"])
    assert setup["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"


def test_the_setup_waits_for_nobody_where_the_servers_come_along() -> None:
    assert "annotations" not in _job(scenario("trial"))["metadata"]


def _job(manifests: list[Manifest]) -> Manifest:
    (found,) = (one for name, one in of_kind(manifests, "Job").items() if "setup" in name)
    return found


def test_callers_are_balanced_over_pods() -> None:
    services = of_kind(scenario("minimal"), "Service")
    assert services["trackops-order"]["spec"]["clusterIP"] == "None"
    assert "clusterIP" not in services["trackops-order-balanced"]["spec"]
