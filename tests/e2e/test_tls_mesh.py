"""The whole mesh with TLS: what works, what is refused, and certificates that change meanwhile."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shutil import copy
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from rich.console import Console
from trackops.inventory.v1.inventory_service_pb2 import BatchGetStockRequest
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from typer.testing import CliRunner, Result

from trackops_cli.demo.run import run_demo
from trackops_cli.local.authority import credentials_of
from trackops_cli.local.mesh import SERVICES, is_serving
from trackops_cli.local.ports import variable_of
from trackops_cli.main import app
from trackops_cli.testing import Mesh, temporary_stack, wait_for


@pytest.fixture(scope="module")
def tls_mesh() -> Iterator[Mesh]:
    with temporary_stack(tls=True, kafka_protocol="SASL_PLAINTEXT") as stack:
        stack.up()
        yield Mesh(stack)


class Command:
    """`trackops` as somebody runs it on the machine of the mesh."""

    def __init__(self, mesh: Mesh) -> None:
        context = mesh.stack.context
        ports = {variable_of(name): str(port) for name, port in vars(context.ports).items()}
        home = {"TRACKOPS_HOME": str(context.home.root), "COLUMNS": "200", "TERM": "dumb"}
        self._environment = home | ports

    def run(
        self, *words: str, status: int = 0, environment: Mapping[str, str] | None = None
    ) -> Result:
        told = self._environment | dict(environment or {})
        result = CliRunner().invoke(app, words, env=told)
        assert result.exit_code == status, result.output
        return result

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json").stdout)


@pytest.fixture
def command(tls_mesh: Mesh) -> Command:
    return Command(tls_mesh)


@pytest.fixture
def elsewhere(tls_mesh: Mesh, command: Command, tmp_path: Path) -> Path:
    """The folder of somebody who has a token for the mesh, and no certificate."""
    command.run("token")
    home = tls_mesh.stack.context.home
    for file in (home.secrets_file, home.credentials_file):
        copy(file, tmp_path)
    return tmp_path


def certificate_end(mesh: Mesh, service: str) -> float:
    with urlopen(f"http://{mesh.http(service)}/metrics", timeout=10) as page:
        lines: Sequence[str] = page.read().decode().splitlines()
    name = "trackops_tls_certificate_expiry_timestamp_seconds"
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name} "))
    return float(value)


async def test_the_demo_is_sound(tls_mesh: Mesh) -> None:
    shown = Console(file=io.StringIO())

    assert await run_demo(tls_mesh.addresses, tls_mesh.token, shown)


def test_status_doctor_and_a_call_work(command: Command) -> None:
    parts = command.json("status")["parts"]
    assert [one["name"] for one in parts if not one["ready"]] == []

    areas = command.json("doctor")["findings"]
    assert [one["what"] for one in areas if not one["ok"]] == []
    assert any("certificates, the first ends" in one["what"] for one in areas)

    listed = command.json("order", "list", "--customer", "nobody")
    assert listed["orders"] == []


def test_plain_text_gets_nowhere_and_the_command_says_why(
    tls_mesh: Mesh, command: Command, elsewhere: Path
) -> None:
    target = tls_mesh.target("order")
    assert not is_serving(target)
    named = {"TRACKOPS_HOME": str(elsewhere), "TRACKOPS_ORDER_TARGET": target}

    result = command.run("order", "list", "--customer", "ada", status=3, environment=named)

    assert "it speaks TLS: name our files in TRACKOPS_TLS_CERTIFICATE" in result.output


def test_the_files_may_be_named_instead(tls_mesh: Mesh, command: Command, elsewhere: Path) -> None:
    paths = tls_mesh.stack.authority.paths("cli")
    named = {
        "TRACKOPS_HOME": str(elsewhere),
        "TRACKOPS_ORDER_TARGET": tls_mesh.target("order"),
        "TRACKOPS_TLS_CERTIFICATE": str(paths.certificate),
        "TRACKOPS_TLS_KEY": str(paths.key),
    }
    words = ("order", "list", "--customer", "nobody")
    incomplete = command.run(*words, status=1, environment=named)
    assert "TLS needs TRACKOPS_TLS_CA too" in incomplete.output

    command.run(*words, environment=named | {"TRACKOPS_TLS_CA": str(paths.ca)})


def test_a_service_takes_no_call_of_one_that_has_no_business_with_it(tls_mesh: Mesh) -> None:
    payment = credentials_of(tls_mesh.stack.authority.paths("payment"))
    request = BatchGetStockRequest(skus=["TEA-1"])
    with (
        grpc.secure_channel(tls_mesh.target("inventory"), payment) as channel,
        pytest.raises(grpc.RpcError) as failed,
    ):
        InventoryServiceStub(channel).BatchGetStock(request, timeout=10)

    assert failed.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_only_the_owner_may_read_the_keys(tls_mesh: Mesh) -> None:
    folder = tls_mesh.stack.authority.folder
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.key")}

    assert len(modes) == len(SERVICES) + 3
    assert set(modes.values()) == {0o600}


async def test_certificates_change_while_orders_go_through(
    tls_mesh: Mesh, command: Command
) -> None:
    before = {spec.name: certificate_end(tls_mesh, spec.name) for spec in SERVICES}
    pids = {part.name: part.pid for part in tls_mesh.stack.status()}

    def changed() -> bool:
        return all(certificate_end(tls_mesh, name) > end for name, end in before.items())

    command.run("renew-certificates")
    assert await run_demo(tls_mesh.addresses, tls_mesh.token, Console(file=io.StringIO()))
    wait_for(changed, what="the new certificates")

    parts = {part.name: (part.pid, part.ready) for part in tls_mesh.stack.status()}
    assert parts == {name: (pid, True) for name, pid in pids.items()}
