"""The edge of the local mesh, and its certificate."""

from __future__ import annotations

import json
import ssl
import stat
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from cryptography import x509

from trackops_cli.local.certificates import EdgeCertificate
from trackops_cli.testing import Mesh

NOW = datetime.now(UTC)


def get(mesh: Mesh, path: str) -> tuple[int, str]:
    edge = mesh.stack.edge
    trust = ssl.create_default_context(cafile=str(edge.certificate.authority))
    connection = HTTPSConnection("127.0.0.1", edge.claims()[0].port, timeout=10, context=trust)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_the_edge_is_part_of_the_mesh(mesh: Mesh) -> None:
    (edge,) = [part for part in mesh.stack.status() if part.name == "edge"]

    assert edge.ready
    assert edge.address == mesh.stack.edge.url.removeprefix("https://")


def test_the_edge_answers_over_tls_that_its_authority_vouches_for(mesh: Mesh) -> None:
    status, body = get(mesh, "/v1/orders")

    assert (status, json.loads(body)["reason"]) == (401, "TOKEN_MISSING")


def test_a_certificate_is_made_once(tmp_path: Path) -> None:
    one = EdgeCertificate(tmp_path / "tls")
    one.ensure(NOW)
    before = one.certificate.read_bytes()

    one.ensure(NOW + timedelta(days=300))

    assert one.certificate.read_bytes() == before
    assert stat.S_IMODE(one.private_key.stat().st_mode) == 0o600
    assert sorted(path.name for path in one.folder.iterdir()) == [
        "ca.pem",
        "certificate.pem",
        "key.pem",
    ]


@pytest.mark.parametrize("lost", ["ca.pem", "certificate.pem", "key.pem"])
def test_a_certificate_that_lacks_a_part_is_made_anew(tmp_path: Path, lost: str) -> None:
    one = EdgeCertificate(tmp_path)
    one.ensure(NOW)
    (tmp_path / lost).unlink()

    one.ensure(NOW)

    assert (tmp_path / lost).exists()
    made = x509.load_pem_x509_certificate(one.certificate.read_bytes())
    authority = x509.load_pem_x509_certificate(one.authority.read_bytes())
    made.verify_directly_issued_by(authority)


def test_a_certificate_is_renewed_before_it_ends(tmp_path: Path) -> None:
    one = EdgeCertificate(tmp_path)
    one.ensure(NOW)
    before = one.certificate.read_bytes()

    one.ensure(NOW + timedelta(days=340))

    assert one.certificate.read_bytes() != before
