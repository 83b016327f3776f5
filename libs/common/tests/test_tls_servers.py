"""Who gets in, asked of a service that runs as its own process, and what it refuses to start with.

Each refusal is looked at from both sides: what the caller is told and what stands in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from trackops_cli.local.authority import Authority
from trackops_cli.local.ports import Ports
from trackops_cli.testing import wait_for
from trackops_common.errors import TransientError
from trackops_common.grpc.channels import open_channel
from trackops_common.grpc.credentials import channel_credentials
from trackops_common.relay_client import published_by_relay
from trackops_common.testing import ErrorDetails, ServiceProcess, error_details
from trackops_common.tls import TlsFiles, TlsMaterial

PROGRAM = """
import contextlib
from trackops_common.grpc.server import Application, run
from trackops_common.settings import ServiceSettings
from trackops_common.testing_tokens import key_for_tests, key_set
from trackops_common.vitals import Vitals

@contextlib.asynccontextmanager
async def bootstrap(settings):
    keys = key_set([key_for_tests()])
    yield Application([], vitals=Vitals.of(settings), key_source=lambda: keys)

run("a_service", ServiceSettings, bootstrap)
"""

NAMES = ("order", "cli", "stranger")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    (made / "a_service.py").write_text(PROGRAM)
    return made


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    made = Authority(folder / "tls")
    made.issue(NAMES)
    return made


@pytest.fixture(scope="module")
def settings(authority: Authority) -> Mapping[str, str]:
    paths = authority.paths("order")
    return {
        "TRACKOPS_TLS_CERTIFICATE": str(paths.certificate),
        "TRACKOPS_TLS_KEY": str(paths.key),
        "TRACKOPS_TLS_CA": str(paths.ca),
        "TRACKOPS_TLS_CALLERS": "saga-orchestrator, cli",
    }


@contextmanager
def started(folder: Path, port: int, settings: Mapping[str, str]) -> Iterator[ServiceProcess]:
    basis = {
        "TRACKOPS_LISTEN": f"127.0.0.1:{port}",
        "TRACKOPS_DATABASE_URL": "postgresql://x",
    }
    process = ServiceProcess("a_service", basis | dict(settings), folder / f"{port}.log")
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture(scope="module")
def ports() -> Ports:
    return Ports.free()


@pytest.fixture(scope="module")
def server(folder: Path, ports: Ports, settings: Mapping[str, str]) -> Iterator[ServiceProcess]:
    with started(folder, ports.order, settings) as process:
        process.wait_logged("serving")
        yield process


@pytest.fixture(scope="module")
def target(server: ServiceProcess, ports: Ports) -> str:
    return f"127.0.0.1:{ports.order}"


def material(authority: Authority, name: str) -> TlsMaterial:
    return TlsFiles(authority.paths(name)).current


def is_serving(channel: grpc.Channel) -> bool:
    answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=10)
    return bool(answer.status == HealthCheckResponse.SERVING)


def services(channel: grpc.Channel) -> list[str]:
    """Asks reflection, which answers known callers only."""
    question = ServerReflectionRequest(list_services="")
    stub = ServerReflectionStub(channel)
    (answer,) = stub.ServerReflectionInfo(iter([question]), timeout=10)
    return [service.name for service in answer.list_services_response.service]


def refused(target: str, credentials: grpc.ChannelCredentials | None) -> str:
    """How a call that gets nowhere is refused."""
    with (
        (
            grpc.secure_channel(target, credentials)
            if credentials
            else grpc.insecure_channel(target)
        ) as channel,
        pytest.raises(grpc.RpcError) as failed,
    ):
        is_serving(channel)
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
    return str(failed.value.details())


def test_a_known_caller_gets_in(target: str, authority: Authority) -> None:
    with grpc.secure_channel(target, channel_credentials(material(authority, "cli"))) as channel:
        assert is_serving(channel)
        assert "grpc.health.v1.Health" in services(channel)


async def test_the_channels_of_services_get_in(target: str, authority: Authority) -> None:
    async with open_channel(target, TlsFiles(authority.paths("cli"))) as channel:
        answer = await HealthStub(channel).Check(HealthCheckRequest(), timeout=10)

    assert answer.status == HealthCheckResponse.SERVING


def test_a_caller_of_unknown_name_is_told_so_and_logged(
    target: str, authority: Authority, server: ServiceProcess
) -> None:
    stranger = channel_credentials(material(authority, "stranger"))

    with grpc.secure_channel(target, stranger) as channel:
        assert is_serving(channel)
        with pytest.raises(grpc.RpcError) as failed:
            services(channel)

    details: ErrorDetails = error_details(failed.value)
    assert details.code == grpc.StatusCode.PERMISSION_DENIED
    assert details.reason == "PERMISSION_DENIED"
    assert details.message.endswith("certificate: stranger, localhost, 127.0.0.1")
    (line,) = server.wait_logged("refused a caller")
    assert line["names"] == "stranger, localhost, 127.0.0.1"
    assert line["method"].endswith("/ServerReflectionInfo")


def test_the_relay_is_asked_with_a_certificate(target: str, authority: Authority) -> None:
    with pytest.raises(TransientError, match="UNIMPLEMENTED"):
        published_by_relay(target, "trackops_order", str, TlsFiles(authority.paths("cli")))
    with pytest.raises(TransientError, match="UNAVAILABLE"):
        published_by_relay(target, "trackops_order", str)


def test_a_server_of_another_authority_is_not_trusted(
    target: str, tmp_path: Path, server: ServiceProcess
) -> None:
    other = Authority(tmp_path)
    other.issue(["cli"])

    told = refused(target, channel_credentials(material(other, "cli")))

    assert "CERTIFICATE_VERIFY_FAILED" in told


def test_a_client_of_another_authority_is_turned_away(
    target: str, authority: Authority, tmp_path: Path, server: ServiceProcess
) -> None:
    other = Authority(tmp_path)
    other.issue(["cli"])
    own = other.paths("cli")
    mixed = grpc.ssl_channel_credentials(
        authority.paths("cli").ca.read_bytes(),
        own.key.read_bytes(),
        own.certificate.read_bytes(),
    )

    refused(target, mixed)

    wait_for_line(server, "CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate")


def test_a_client_without_certificate_is_turned_away(
    target: str, authority: Authority, server: ServiceProcess
) -> None:
    refused(target, grpc.ssl_channel_credentials(authority.paths("cli").ca.read_bytes()))

    wait_for_line(server, "PEER_DID_NOT_RETURN_A_CERTIFICATE")


def test_an_expired_client_certificate_is_turned_away(
    target: str, authority: Authority, server: ServiceProcess
) -> None:
    authority.renew(["expired"], valid=-timedelta(days=1))
    paths = authority.paths("expired")
    expired = grpc.ssl_channel_credentials(
        paths.ca.read_bytes(), paths.key.read_bytes(), paths.certificate.read_bytes()
    )

    refused(target, expired)

    wait_for_line(server, "certificate has expired")


def test_a_server_of_another_name_is_not_taken(
    authority: Authority, folder: Path, ports: Ports, settings: Mapping[str, str]
) -> None:
    authority.renew(["elsewhere"], addresses=False)
    paths = authority.paths("elsewhere")
    own = {
        "TRACKOPS_TLS_CERTIFICATE": str(paths.certificate),
        "TRACKOPS_TLS_KEY": str(paths.key),
    }
    with started(folder, ports.payment, dict(settings) | own) as process:
        process.wait_logged("serving")
        told = refused(
            f"127.0.0.1:{ports.payment}", channel_credentials(material(authority, "cli"))
        )

    assert "Hostname Verification Check failed" in told


def test_plain_text_to_a_server_with_tls_fails(target: str, server: ServiceProcess) -> None:
    refused(target, None)

    wait_for_line(server, "WRONG_VERSION_NUMBER")


def test_tls_to_a_server_without_fails(authority: Authority, folder: Path, ports: Ports) -> None:
    with started(folder, ports.inventory, {}) as process:
        process.wait_logged("serving")
        told = refused(
            f"127.0.0.1:{ports.inventory}", channel_credentials(material(authority, "cli"))
        )

    assert "WRONG_VERSION_NUMBER" in told


@pytest.mark.parametrize(
    "missing",
    [
        "TRACKOPS_TLS_CERTIFICATE",
        "TRACKOPS_TLS_KEY",
        "TRACKOPS_TLS_CA",
        "TRACKOPS_TLS_CALLERS",
    ],
)
def test_settings_are_given_together_or_not_at_all(
    missing: str, settings: Mapping[str, str], folder: Path, ports: Ports
) -> None:
    some = {name: value for name, value in settings.items() if name != missing}

    with started(folder, ports.payment, some) as process:
        assert process.wait(seconds=60) == 78

    assert process.output == [f"trackops: settings contradict each other: TLS needs {missing} too"]


def test_a_service_does_not_start_with_an_expired_certificate(
    authority: Authority, settings: Mapping[str, str], folder: Path, ports: Ports
) -> None:
    authority.renew(["expired"], valid=-timedelta(days=1))
    paths = authority.paths("expired")
    own = {
        "TRACKOPS_TLS_CERTIFICATE": str(paths.certificate),
        "TRACKOPS_TLS_KEY": str(paths.key),
    }

    with started(folder, ports.payment, dict(settings) | own) as process:
        assert process.wait(seconds=60) == 1

    (line,) = process.logged("cannot serve")
    assert line["error"].startswith(f"TLS cannot be used: the certificate in {paths.certificate}")
    assert len(process.output) == 1


def wait_for_line(server: ServiceProcess, text: str) -> None:
    """What gRPC itself writes comes a moment after the client was told."""
    wait_for(lambda: any(text in line for line in server.output), what=text)
