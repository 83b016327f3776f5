"""A certificate for the edge on loopback, from an authority that is made for it alone.

The authority's key is never written: nobody can have it sign anything else.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trackops_cli.local.home import write_private
from trackops_cli.local.ports import HOST

__all__ = ["EdgeCertificate"]

_LIFETIME = timedelta(days=365)
_RENEWED_BEFORE = timedelta(days=30)
_CLOCKS_APART = timedelta(hours=1)


@dataclass(frozen=True)
class EdgeCertificate:
    """PEM files in one folder."""

    folder: Path

    @property
    def authority(self) -> Path:
        """What callers trust: `curl --cacert`."""
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def private_key(self) -> Path:
        return self.folder / "key.pem"

    def ensure(self, now: datetime | None = None) -> None:
        """Makes all three unless they are there and good for a while (`now` is UTC)."""
        moment = now or datetime.now(UTC)
        if not self._is_good(moment + _RENEWED_BEFORE):
            self._make(moment)

    def _is_good(self, moment: datetime) -> bool:
        if not all(path.exists() for path in (self.authority, self.private_key, self.certificate)):
            return False
        made = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        return moment < made.not_valid_after_utc

    def _make(self, now: datetime) -> None:
        signing, own = _new_key(), _new_key()
        authority = _authority(signing, now)
        certificate = _certificate(own, authority, signing, now)
        write_private(self.private_key, own.private_bytes(*_PRIVATE_PEM).decode())
        for path, made in ((self.certificate, certificate), (self.authority, authority)):
            path.write_bytes(made.public_bytes(serialization.Encoding.PEM))


_PRIVATE_PEM = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = _name("TrackOps on this machine")
    usage = _usage(signs_certificates=True)
    builder = _builder(name, name, key, now).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    return builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    signing: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
    )
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    return (
        _builder(_name("localhost"), authority.subject, key, now)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(signing, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_APART)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
