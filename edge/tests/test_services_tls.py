"""Mutual TLS from the edge to the services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme

from trackops_edge.settings import ServicesTls

from .edge_harness import HOST, run_edge, write_certificate


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def services_of(authority: trustme.CA, name: str) -> grpc.ServerCredentials:
    """Those of services that have a certificate of `name` and ask for one."""
    made = authority.issue_cert(name, key_type=trustme.KeyType.ECDSA)
    pair = (made.private_key_pem.bytes(), made.cert_chain_pems[0].bytes())
    return grpc.ssl_server_credentials([pair], authority.cert_pem.bytes(), True)


def caller_of(authority: trustme.CA, trusted: trustme.CA, folder: Path) -> ServicesTls:
    """The edge with a certificate of `authority`, which trusts services of `trusted`."""
    folder.mkdir()
    write_certificate(authority, folder)
    (folder / "ca.pem").write_bytes(trusted.cert_pem.bytes())
    return ServicesTls(
        certificate=folder / "certificate.pem",
        private_key=folder / "key.pem",
        authority=folder / "ca.pem",
    )


def status_of_a_call(
    tmp_path: Path,
    ports: Iterator[int],
    tls: ServicesTls | None,
    credentials: grpc.ServerCredentials,
) -> int:
    folder = tmp_path / "edge"
    with run_edge(folder, ports, services_tls=tls, credentials=credentials) as edge:
        return edge.call("GET", "/v1/orders").status


def test_both_sides_show_a_certificate(
    tmp_path: Path, ports: Iterator[int], authority: trustme.CA
) -> None:
    tls = caller_of(authority, authority, tmp_path / "caller")

    assert status_of_a_call(tmp_path, ports, tls, services_of(authority, HOST)) == 200


def test_a_service_of_another_authority_is_not_called(
    tmp_path: Path, ports: Iterator[int], authority: trustme.CA
) -> None:
    another = trustme.CA(key_type=trustme.KeyType.ECDSA)
    tls = caller_of(authority, another, tmp_path / "caller")

    assert status_of_a_call(tmp_path, ports, tls, services_of(authority, HOST)) == 503


def test_a_service_of_another_name_is_not_called(
    tmp_path: Path, ports: Iterator[int], authority: trustme.CA
) -> None:
    tls = caller_of(authority, authority, tmp_path / "caller")

    assert status_of_a_call(tmp_path, ports, tls, services_of(authority, "127.0.0.2")) == 503


def test_an_edge_of_another_authority_gets_no_answer(
    tmp_path: Path, ports: Iterator[int], authority: trustme.CA
) -> None:
    another = trustme.CA(key_type=trustme.KeyType.ECDSA)
    tls = caller_of(another, authority, tmp_path / "caller")

    assert status_of_a_call(tmp_path, ports, tls, services_of(authority, HOST)) == 503


def test_an_edge_without_tls_gets_no_answer(
    tmp_path: Path, ports: Iterator[int], authority: trustme.CA
) -> None:
    assert status_of_a_call(tmp_path, ports, None, services_of(authority, HOST)) == 503
