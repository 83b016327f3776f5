"""The local stack's own authority, and what the command makes of its certificates."""

from __future__ import annotations

import ssl
import stat
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from trackops_cli.channels import own_credentials, tls_advice
from trackops_cli.local.authority import Authority
from trackops_cli.local.errors import CertificateUnusable, IncompleteTls
from trackops_cli.local.home import Home
from trackops_cli.local.mesh import CERTIFIED_NAMES, SERVICES, Addresses
from trackops_cli.local.ports import Ports
from trackops_cli.local.stack import LocalStack
from trackops_cli.overview.ground import check_certificates


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "tls")
    made.issue(CERTIFIED_NAMES)
    return made


def test_what_it_makes_is_for_its_owner_only(authority: Authority) -> None:
    files = list(authority.folder.iterdir())

    assert len(files) == 2 * (len(CERTIFIED_NAMES) + 1)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_others_find_its_certificates_sound(authority: Authority) -> None:
    """OpenSSL, as strict as it can be."""
    paths = authority.paths("order")
    context = ssl.create_default_context(cafile=paths.ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=paths.ca)
    server.verify_mode = ssl.CERT_REQUIRED
    for side in (context, server):
        side.load_cert_chain(paths.certificate, paths.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = context.wrap_bio(to_client, to_server, server_hostname="order")
    right = server.wrap_bio(to_server, to_client, server_side=True)

    for end in (left, right, left, right):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()

    assert left.getpeercert()
    assert right.getpeercert()


def test_a_certificate_may_have_further_names(authority: Authority) -> None:
    authority.renew(["order"], further=["127.0.0.1:1,127.0.0.1:2"])

    pem = authority.paths("order").certificate.read_bytes()
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == [
        "order",
        "127.0.0.1:1,127.0.0.1:2",
        "localhost",
    ]


def test_again_it_makes_only_what_is_missing_or_ends_soon(authority: Authority) -> None:
    kept = authority.paths("order").certificate.read_bytes()
    authority.renew(["payment"], valid=timedelta(days=20))
    authority.paths("cli").certificate.unlink()

    authority.issue(CERTIFIED_NAMES)

    assert authority.paths("order").certificate.read_bytes() == kept
    for name in ("payment", "cli"):
        assert authority.ends(name) > datetime.now(UTC) + timedelta(days=80)


def test_whoever_is_told_a_services_address_may_call_it(tmp_path: Path) -> None:
    callers = {spec.name: set(spec.callers) for spec in SERVICES}

    assert callers["payment"] >= {"saga-orchestrator", "cli", "edge"}
    assert "order" not in callers["payment"]
    assert {"order", "inventory", "payment", "identity"} <= callers["outbox_relay"]
    assert "edge" not in callers["outbox_relay"]


def test_a_stack_stays_as_it_was_brought_up(tmp_path: Path) -> None:
    def addresses(*, tls: bool | None = None) -> Addresses:
        return LocalStack(tmp_path, Ports(), tls=tls).addresses

    assert addresses().authority is None
    assert addresses(tls=True).authority is not None
    Authority(tmp_path / "tls").issue(["cli"])
    assert addresses().authority is not None
    assert addresses(tls=False).authority is None


def test_what_the_command_is_told_does_not_reach_a_service_without_tls(tmp_path: Path) -> None:
    plain = LocalStack(tmp_path, Ports()).addresses

    environment = SERVICES[0].environment(plain)

    assert environment["TRACKOPS_TLS_CERTIFICATE"] == environment["TRACKOPS_TLS_CALLERS"] == ""


def test_reset_forgets_the_authority(tmp_path: Path) -> None:
    authority = Authority(Home(tmp_path).certificates)
    authority.issue(["cli"])

    Home(tmp_path).erase()

    assert not authority.folder.exists()


def test_the_command_speaks_tls_where_the_stack_does(authority: Authority, tmp_path: Path) -> None:
    assert own_credentials({"TRACKOPS_HOME": str(tmp_path)}) is not None
    assert own_credentials({"TRACKOPS_HOME": str(tmp_path / "other")}) is None


def test_a_certificate_that_has_ended_is_named(authority: Authority, tmp_path: Path) -> None:
    authority.renew(["cli"], valid=-timedelta(days=1))

    with pytest.raises(CertificateUnusable, match=r"cli\.crt holds from .*`trackops up` renews"):
        own_credentials({"TRACKOPS_HOME": str(tmp_path)})


def test_files_are_named_all_or_none(tmp_path: Path) -> None:
    with pytest.raises(IncompleteTls, match="TRACKOPS_TLS_KEY, TRACKOPS_TLS_CA too"):
        own_credentials({"TRACKOPS_HOME": str(tmp_path), "TRACKOPS_TLS_CERTIFICATE": "x"})


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER: …", "it speaks plain text"),
        ("CERTIFICATE_VERIFY_FAILED: …", "authorities in TRACKOPS_TLS_CA"),
        ("UNAUTHENTICATED: Hostname Verification Check failed.", "does not name the host"),
        ("ipv4:127.0.0.1:5051: Socket closed", "it refuses our certificate"),
        ("Connection refused", ""),
    ],
)
def test_errors_of_tls_are_explained(
    error: str, advice: str, authority: Authority, tmp_path: Path
) -> None:
    told = tls_advice("127.0.0.1:1", error, {"TRACKOPS_HOME": str(tmp_path)})

    assert advice in told
    assert bool(advice) == bool(told)


def test_a_server_that_is_away_is_no_matter_of_tls(tmp_path: Path) -> None:
    assert tls_advice("127.0.0.1:1", "…", {"TRACKOPS_HOME": str(tmp_path)}) == ""


def test_the_doctor_looks_when_certificates_end(authority: Authority, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    assert list(check_certificates(Authority(tmp_path / "none"), now)) == []
    (fine,) = check_certificates(authority, now)
    assert fine.ok

    authority.renew(["payment"], valid=timedelta(days=13))
    (wrong,) = check_certificates(authority, now)

    assert wrong.what.startswith("the certificates of payment have ended or end within 14 days")
    assert "`trackops up`" in wrong.todo
