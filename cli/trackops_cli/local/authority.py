"""A certificate authority of the local stack's own, made on the spot, and what it issues."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trackops_cli.local.errors import CertificateUnusable
from trackops_cli.local.home import write_private
from trackops_cli.local.ports import HOST
from trackops_common.errors import StartRefused
from trackops_common.grpc.credentials import channel_credentials
from trackops_common.tls import TlsFiles, TlsPaths

__all__ = ["COMMAND", "EDGE", "Authority", "credentials_of"]

COMMAND = "cli"
"""The name of the `trackops` command, and of whoever has no other on this machine."""
EDGE = "edge"
"""The name of the way in from outside."""

_AUTHORITY = "ca"
_AUTHORITY_DAYS = timedelta(days=3650)
_DAYS = timedelta(days=90)
_RENEW_BEFORE = timedelta(days=30)
_CLOCKS_APART = timedelta(minutes=5)


@dataclass(frozen=True)
class Authority:
    """Everything lies in `folder`, for its owner only; `ca.crt` there means that TLS is on."""

    folder: Path

    @property
    def exists(self) -> bool:
        """Whether the authority was made."""
        return self._certificate(_AUTHORITY).exists()

    def paths(self, name: str) -> TlsPaths:
        """Where the certificate of `name` lies, or will lie."""
        return TlsPaths(self._certificate(name), self._key(name), ca=self._certificate(_AUTHORITY))

    def issue(self, names: Iterable[str]) -> None:
        """Make whatever is missing, and anew what ends within 30 days."""
        if not self.exists:
            self._make_itself()
        for name in names:
            if self.ends(name) < _now() + _RENEW_BEFORE:
                self.renew([name])

    def renew(
        self,
        names: Iterable[str],
        *,
        valid: timedelta = _DAYS,
        addresses: bool = True,
        further: Sequence[str] = (),
    ) -> None:
        """A new key and certificate for each of `names`; for an expired one `valid` is negative.

        Each names its owner, `further` names and, unless `addresses` is false, this machine's
        loopback.
        """
        issuer = x509.load_pem_x509_certificate(self._certificate(_AUTHORITY).read_bytes())
        issuer_key = load_pem_private_key(self._key(_AUTHORITY).read_bytes(), password=None)
        if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self._key(_AUTHORITY)} is not a key of ours")
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        for name in names:
            key = ec.generate_private_key(ec.SECP256R1())
            draft = (
                _draft(name, issuer.subject, key, valid)
                .add_extension(_alternatives([name, *further], loopback=addresses), critical=False)
                .add_extension(_USAGE, critical=False)
                .add_extension(issuer_id, critical=False)
            )
            self._write(name, draft.sign(issuer_key, hashes.SHA256()), key)

    def ends(self, name: str) -> datetime:
        """When the certificate of `name` does; one that is missing has ended long ago."""
        path = self._certificate(name)
        if not path.exists():
            return datetime.min.replace(tzinfo=UTC)
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc

    def erase(self) -> None:
        """Forget the authority and all that it issued."""
        rmtree(self.folder, ignore_errors=True)

    def _make_itself(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TrackOps local authority")])
        draft = (
            _draft("TrackOps local authority", name, key, _AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_ISSUES, critical=True)
        )
        self._write(_AUTHORITY, draft.sign(key, hashes.SHA256()), key)

    def _write(
        self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(self._key(name), pem.decode())
        write_private(self._certificate(name), certificate.public_bytes(Encoding.PEM).decode())

    def _certificate(self, name: str) -> Path:
        return self.folder / f"{name}.crt"

    def _key(self, name: str) -> Path:
        return self.folder / f"{name}.key"


def credentials_of(paths: TlsPaths) -> grpc.ChannelCredentials:
    """What these files hold now, for a channel.

    Raises:
        CertificateUnusable: they are missing, damaged or expired.
    """
    try:
        return channel_credentials(TlsFiles(paths).current)
    except StartRefused as error:
        raise CertificateUnusable(str(error)) from error


_USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
"""Every service is called and calls."""

_ISSUES = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def _draft(
    subject: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: timedelta
) -> x509.CertificateBuilder:
    now = _now()
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + valid) - _CLOCKS_APART)
        .not_valid_after(now + valid)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _alternatives(names: Iterable[str], *, loopback: bool) -> x509.SubjectAlternativeName:
    own = [x509.DNSName(name) for name in names]
    here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
    return x509.SubjectAlternativeName([*own, *here] if loopback else own)


def _now() -> datetime:
    return datetime.now(UTC)
