import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trackops_cli.local.ports import HOST, Ports, variable_of
from trackops_cli.main import app


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ports:
    """The command's stack is one of the test's own."""
    ports = Ports.free()
    monkeypatch.setenv("TRACKOPS_HOME", str(tmp_path))
    for field, port in vars(ports).items():
        monkeypatch.setenv(variable_of(field), str(port))
    return ports


def test_a_taken_port_is_one_line_and_a_failure(ports: Ports) -> None:
    with socket.create_server((HOST, ports.payment)):
        result = CliRunner().invoke(app, ["up"])

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert f"port {ports.payment}, wanted by payment" in result.stderr
    assert "TRACKOPS_PORT_PAYMENT" in result.stderr


def test_a_wrong_setting_is_one_line_and_a_failure(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKOPS_PORT_ORDER", "many")

    result = CliRunner().invoke(app, ["up"])

    assert result.exit_code == 1
    assert result.stderr == "trackops: TRACKOPS_PORT_ORDER='many' is not a port number\n"


def test_a_full_disk_is_one_line_and_a_failure(
    ports: Ports, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def write_nothing(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_nothing)
    monkeypatch.setattr("trackops_cli.local.home.write_private", write_nothing)

    result = CliRunner().invoke(app, ["up"])

    assert result.exit_code == 1
    assert result.stderr == f"trackops: no space left on the disk of {tmp_path}\n"


def test_down_with_nothing_running_is_harmless(ports: Ports) -> None:
    result = CliRunner().invoke(app, ["down"])

    assert (result.exit_code, result.stderr) == (0, "trackops: nothing was running\n")


def test_status_fails_unless_everything_serves(ports: Ports) -> None:
    result = CliRunner().invoke(app, ["status"])

    assert result.exit_code == 1
    assert "down" in result.stdout
