"""compose.yaml by itself: no container runs here."""

from __future__ import annotations

import os
import re
import runpy
import stat
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from trackops_cli.local.mesh import SERVICES
from trackops_common import settings
from trackops_common.migrations.__main__ import MigrationSettings
from trackops_common.setting_names import PREFIX
from trackops_edge import render
from trackops_edge.__main__ import settings_of

from ..chart.chart import containers, environment, named, scenario
from ..chart.test_settings import _SETTINGS as SETTINGS

_ROOT = Path(__file__).parents[2]
_NAMES = [spec.certified_name for spec in SERVICES]
_SERVERS = ("postgres", "redis", "kafka")
_VARIABLE = re.compile(r"\$\{(\w+):[-+][^}]*(?:\}[^}]*)?\}")


@cache
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((_ROOT / "compose.yaml").read_text())
    return document


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"][name]
    return found


def secrets_of(name: str) -> dict[str, str]:
    """Of a container: each secret by the name of its file."""
    found = service(name).get("secrets", ())
    long = [one if isinstance(one, dict) else {"source": one, "target": one} for one in found]
    return {one["target"]: one["source"] for one in long}


def told(name: str) -> set[str]:
    """The settings that a container is told, by variables and by secrets."""
    variables = {*service(name).get("environment", ()), *secrets_of(name)}
    return {one for one in variables if one.startswith(PREFIX)} - {f"{PREFIX}SECRETS_DIR"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of secrets, as the script makes it."""
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    runpy.run_path(str(_ROOT / "scripts" / "compose_secrets.py"))["make"](folder)
    return folder


def source_of(secret: str, made: Path) -> Path:
    """The file that is mounted as it."""
    return Path(compose()["secrets"][secret]["file"].replace("${SECRETS:-./.compose}", str(made)))


@pytest.fixture
def mounted(made: Path, tmp_path: Path) -> Any:
    """Puts a container's secrets where it will find them, and returns the folder."""

    def mount(name: str) -> Path:
        for target, source in secrets_of(name).items():
            (tmp_path / target).write_text(source_of(source, made).read_text())
        return tmp_path

    return mount


@pytest.mark.parametrize("name", _NAMES)
def test_a_service_reads_whatever_it_is_told(name: str) -> None:
    known = {PREFIX + field.upper() for field in SETTINGS[name].model_fields}
    assert told(name) - known == set()


@pytest.mark.parametrize("name", _NAMES)
def test_what_it_is_told_is_enough_to_start_with(name: str, mounted: Any) -> None:
    variables = {**service(name)["environment"], f"{PREFIX}SECRETS_DIR": str(mounted(name))}
    with patch.dict(os.environ, variables, clear=True):
        settings.read(SETTINGS[name])


@pytest.mark.parametrize("name", _NAMES)
def test_it_is_told_what_the_chart_tells_it(name: str) -> None:
    """All but TLS, which the mesh on one machine goes without."""
    (container,) = containers(named(scenario("trial"), "Deployment", f"trackops-{name}"))
    charts = {
        setting: value
        for setting, value in environment(container).items()
        if setting.startswith(PREFIX) and not setting.startswith(f"{PREFIX}TLS_")
    }
    assert told(name) == set(charts)
    texts = {
        setting: value.replace("trackops-", "")
        for setting, value in charts.items()
        if isinstance(value, str) and setting not in secrets_of(name)
    }
    mine = service(name)["environment"]
    assert {setting: mine.get(setting) for setting in texts} == texts


@pytest.mark.parametrize("name", _NAMES)
def test_its_schema_is_migrated_before_it_starts(name: str, mounted: Any) -> None:
    migration = service(f"migrate-{name}")
    assert migration["command"][-1] == f"trackops_{name.replace('-', '_')}"
    assert migration["image"] == service(name)["image"]
    variables = {
        **migration["environment"],
        f"{PREFIX}SECRETS_DIR": str(mounted(f"migrate-{name}")),
    }
    with patch.dict(os.environ, variables, clear=True):
        url = settings.read(MigrationSettings).database_url.get_secret_value()
    assert url.startswith(f"postgresql://{migration['command'][-1]}:")
    finished = {"condition": "service_completed_successfully"}
    assert service(name)["depends_on"][f"migrate-{name}"] == finished
    assert service(name)["depends_on"]["topics"] == finished


def test_the_edge_is_told_all_that_it_needs(tmp_path: Path) -> None:
    files = service("edge-files")
    made = settings_of(files["environment"], tmp_path)
    known = {name for name in files["environment"] if name.startswith(PREFIX)}
    read: set[str] = set()

    class Noted(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            read.add(name)
            return super().__getitem__(name)

    settings_of(Noted(files["environment"]), tmp_path)
    assert known == read
    assert {str(path.parent) for path in (made.certificate, made.private_key)} == {"/run/secrets"}
    mounted = {Path(path).name for path in (made.certificate, made.private_key)}
    assert set(secrets_of("edge")) == mounted
    (volume,) = files["volumes"]
    assert volume in service("edge")["volumes"]
    folder = volume.partition(":")[2]
    assert f"python -m trackops_edge {folder} " in files["command"][-1]
    assert f"{folder}/envoy.yaml" in service("edge")["command"]


def test_the_edge_can_make_the_socket_of_its_administration_but_replace_no_file(
    tmp_path: Path,
) -> None:
    files, edge = service("edge-files"), service("edge")
    folder = files["volumes"][0].partition(":")[2]
    written = render.files(settings_of(files["environment"], Path(folder)))[render.CONFIGURATION]
    socket = Path(yaml.safe_load(written)["admin"]["address"]["pipe"]["path"])
    assert str(socket.parent) == folder
    assert files["user"] != edge["user"]
    *_, then = files["command"][-1].partition(" && ")
    subprocess.run(["sh", "-c", then.replace(folder, str(tmp_path))], check=True)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


def test_whoever_is_waited_for_is_there_and_nobody_waits_for_himself() -> None:
    waits = {name: list(one.get("depends_on", ())) for name, one in compose()["services"].items()}
    done: set[str] = set()
    while left := set(waits) - done:
        ready = {name for name in left if set(waits[name]) <= done}
        assert ready, f"they wait for each other: {sorted(left)}"
        done |= ready


def test_long_running_ones_are_waited_for_until_healthy_and_others_until_done() -> None:
    dockerfile = (_ROOT / "Dockerfile").read_text()
    assert "HEALTHCHECK" in dockerfile  # the services' own
    for name, one in compose()["services"].items():
        for other, how in one.get("depends_on", {}).items():
            once = other.startswith("migrate-") or other in ("topics", "edge-files")
            wanted = "service_completed_successfully" if once else "service_healthy"
            assert how == {"condition": wanted}, f"{name} waits for {other}"
            assert once or other in _NAMES or "healthcheck" in service(other)


def test_every_port_is_on_loopback_only() -> None:
    ports = [port for one in compose()["services"].values() for port in one.get("ports", ())]
    assert len(ports) == len(set(ports)) == 14
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_secret_is_made_and_used(made: Path) -> None:
    used = {source for name in compose()["services"] for source in secrets_of(name).values()}
    assert used == set(compose()["secrets"])
    files = {source_of(name, made) for name in used}
    beside = {path for path in made.rglob("*") if path.is_file()} - files
    of_the_edge = {made / "edge" / "ca.pem"}
    assert beside == of_the_edge
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in files)
    assert made.stat().st_mode & 0o077 == 0


def test_secrets_that_are_there_stay(made: Path) -> None:
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    runpy.run_path(str(_ROOT / "scripts" / "compose_secrets.py"))["make"](made)
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


def test_nothing_secret_stands_in_the_file(made: Path) -> None:
    text = (_ROOT / "compose.yaml").read_text()
    for name in _NAMES:
        open_ones = service(name)["environment"]
        secret = {
            field.upper()
            for field, kind in SETTINGS[name].model_fields.items()
            if "Secret" in str(kind.annotation) or "Secret" in str(kind.metadata)
        }
        assert not {PREFIX + one for one in secret} & set(open_ones)
    assert not any(path.read_text() in text for path in made.iterdir() if path.is_file())


def test_variables_have_defaults() -> None:
    """`docker compose` asks for nothing: what is left after these have no dollar that counts."""
    text = (_ROOT / "compose.yaml").read_text()
    commands = re.sub(r"(?m)^#.*$", "", text).replace("$$", "")
    assert set(_VARIABLE.findall(commands)) == {"REGISTRY", "TAG", "SECRETS"}
    assert not re.search(r"\$\{\w+\}", commands)  # it warns of one that is not set, each time
    assert "$" not in _VARIABLE.sub("", commands)


def test_images_are_those_that_are_built_and_servers_those_of_the_chart() -> None:
    chart: Mapping[str, Any] = yaml.safe_load(
        (_ROOT / "helm" / "trackops" / "values.yaml").read_text()
    )
    own = "${REGISTRY:+${REGISTRY-}/}trackops/%s:${TAG:-0.1.0}"
    for name in _NAMES:
        assert service(name)["image"] == own % name
    for name in _SERVERS:
        assert service(name)["image"] == chart["servers"][name]["image"]


def test_servers_are_set_up_as_the_chart_does_it() -> None:
    manifests = scenario("trial")
    scripts = named(manifests, "ConfigMap", "trackops-postgres-roles")["data"]["roles.sh"]
    mine = (_ROOT / "compose" / "roles.sh").read_text().splitlines()[1:]
    charts = scripts.replace(" ; do", "; do").splitlines()
    assert [line for line in mine if "password=$(" not in line] == [
        line for line in charts if "eval" not in line
    ]
    (kafka,) = containers(named(manifests, "StatefulSet", "trackops-kafka"))
    settings = {name: value.replace("trackops-", "") for name, value in environment(kafka).items()}
    assert service("kafka")["environment"] == settings


def test_data_is_in_named_volumes() -> None:
    mounted = {
        volume.partition(":")[0]
        for name in (*_SERVERS, "edge", "edge-files")
        for volume in service(name)["volumes"]
    }
    assert mounted - {"./compose/roles.sh"} == set(compose()["volumes"])


def test_a_stop_has_the_time_that_services_take() -> None:
    for name in _NAMES:
        given = service(name)["environment"]
        needed = int(given[f"{PREFIX}STOP_DELAY_SECONDS"]) + int(
            given[f"{PREFIX}STOP_GRACE_SECONDS"]
        )
        assert int(service(name)["stop_grace_period"].removesuffix("s")) >= needed + 20
