"""A process's certificate, its key and the authority it trusts: three files that may change.

Whoever makes a connection takes `TlsFiles.current`, so that new files hold for
each new connection. Files that cannot be used are never taken in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from trackops_common.clock import Clock, SystemClock
from trackops_common.errors import StartRefused

__all__ = ["TlsFiles", "TlsMaterial", "TlsPaths", "watched"]

_log = structlog.get_logger(__name__)

_LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """Files in PEM."""

    certificate: Path
    """The certificate, and after it those between it and the authority."""
    key: Path
    """Its private key, not encrypted."""
    ca: Path
    """Certificates of the authorities that the peers' certificates may come from."""


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What the three files hold, found sound."""

    certificate: bytes
    key: bytes = field(repr=False)
    ca: bytes
    names: tuple[str, ...]
    """The subject alternative names of the certificate."""
    expires: datetime
    """When the first of the certificate and those after it ends."""


class _Unusable(Exception):
    """The files do not make up what TLS needs."""


class TlsFiles:
    """What the files hold, as of the last look at which they were sound."""

    def __init__(self, paths: TlsPaths, clock: Clock | None = None) -> None:
        """Reads them.

        Raises:
            StartRefused: one is missing, damaged or expired, or they do not belong together.
        """
        self._paths = paths
        self._clock = clock or SystemClock()
        self._refused: _Refused | None = None
        try:
            self._read = self._read_files()
            self.current = self._parse(self._read)
        except _Unusable as error:
            raise StartRefused(f"TLS cannot be used: {error}") from error

    def look(self) -> None:
        """Take in what has changed.

        Files that cannot be used are logged at the second look in a row that finds the same: at
        the first, somebody may be writing them. What was there before stays.
        """
        files = _Files()
        try:
            files = self._read_files()
            if files == self._read:
                self._refused = None
                return
            self.current = self._parse(files)
        except _Unusable as error:
            self._refuse(files, error)
            return
        self._read, self._refused = files, None
        _log.info(
            "took in a new certificate",
            names=self.current.names,
            expires=self.current.expires.isoformat(),
        )

    def _refuse(self, files: _Files, error: _Unusable) -> None:
        if self._refused is None or self._refused.files != files:
            self._refused = _Refused(files)
        elif not self._refused.logged:
            self._refused.logged = True
            _log.error(
                "the new certificate cannot be used, the old one stays",
                error=str(error),
                expires=self.current.expires.isoformat(),
            )

    def _read_files(self) -> _Files:
        """Bytes, not times: Kubernetes swaps a symbolic link, others keep the time of a file."""
        paths = self._paths
        return _Files(_bytes(paths.certificate), _bytes(paths.key), _bytes(paths.ca))

    def _parse(self, files: _Files) -> TlsMaterial:
        paths = self._paths
        chain = _certificates(paths.certificate, files.certificate)
        _certificates(paths.ca, files.ca)
        names = _names(chain[0])
        if not names:
            raise _Unusable(f"the certificate in {paths.certificate} names nobody (no SAN)")
        _check_key(paths, files.key, chain[0])
        self._check_time(chain)
        expires = min(one.not_valid_after_utc for one in chain)
        return TlsMaterial(files.certificate, files.key, files.ca, names, expires)

    def _check_time(self, chain: list[x509.Certificate]) -> None:
        now = self._clock.now()
        for one in chain:
            begin, end = one.not_valid_before_utc, one.not_valid_after_utc
            if not begin <= now < end:
                span = f"{begin.isoformat()} to {end.isoformat()}"
                raise _Unusable(f"the certificate in {self._paths.certificate} holds from {span}")


@asynccontextmanager
async def watched(
    files: TlsFiles | None, *, every_seconds: float = _LOOK_SECONDS
) -> AsyncIterator[Sequence[asyncio.Task[None]]]:
    """`files` are looked at again and again meanwhile, by the task; without files there is none."""
    if files is None:
        yield ()
        return
    watch = asyncio.create_task(_watch(files, every_seconds), name="certificate")
    try:
        yield (watch,)
    finally:
        watch.cancel()


async def _watch(files: TlsFiles, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        await asyncio.to_thread(files.look)


@dataclass(frozen=True, slots=True)
class _Files:
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    ca: bytes = b""


@dataclass(slots=True)
class _Refused:
    files: _Files
    logged: bool = False


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _Unusable(f"{path} cannot be read: {error.strerror}") from error


def _certificates(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise _Unusable(f"{path} holds no certificate in PEM") from error


def _check_key(paths: TlsPaths, pem: bytes, certificate: x509.Certificate) -> None:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise _Unusable(f"{paths.key} holds no private key in PEM without password") from error
    if key.public_key() != certificate.public_key():
        raise _Unusable(f"the key in {paths.key} is not that of {paths.certificate}")


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in found.value)
