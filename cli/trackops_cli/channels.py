"""Channels to services as the command opens them: with TLS where the mesh has it."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

import grpc

import trackops_client
from trackops_cli.local.authority import COMMAND, Authority, credentials_of
from trackops_cli.local.errors import IncompleteTls
from trackops_cli.local.home import Home
from trackops_client import TokenProvider
from trackops_common.tls import TlsPaths

__all__ = ["open_channel", "own_credentials", "stack_credentials", "tls_advice"]

_FILES = ("TRACKOPS_TLS_CERTIFICATE", "TRACKOPS_TLS_KEY", "TRACKOPS_TLS_CA")
_HELLO_SECONDS = 1.0

_MEANINGS = {
    "WRONG_VERSION_NUMBER": "it speaks plain text: set no TRACKOPS_TLS_… for it",
    "CERTIFICATE_VERIFY_FAILED": "its certificate has expired, or comes from none of the"
    " authorities in TRACKOPS_TLS_CA",
    "Hostname Verification Check failed": "its certificate does not name the host of that address",
    "Socket closed": "if it runs, it refuses our certificate; its log says why",
}


def open_channel(
    target: str, *, timeout_seconds: float, token: TokenProvider | None = None
) -> grpc.Channel:
    """As `trackops_client.open_channel` has it.

    Raises:
        StackError: the mesh has TLS, and what we need for it cannot be used.
    """
    return trackops_client.open_channel(
        target, token=token, timeout_seconds=timeout_seconds, credentials=own_credentials()
    )


def own_credentials(
    environment: Mapping[str, str] = os.environ,
) -> grpc.ChannelCredentials | None:
    """Of the files that TRACKOPS_TLS_… name, or of the local stack's; None for plain text.

    Raises:
        StackError: some of the variables lack, or the files cannot be used.
    """
    named = {name: environment[name] for name in _FILES if environment.get(name)}
    if not named:
        return stack_credentials(Home.from_environment(environment))
    missing = [name for name in _FILES if name not in named]
    if missing:
        raise IncompleteTls(missing)
    return credentials_of(TlsPaths(*(Path(named[name]) for name in _FILES)))


def stack_credentials(home: Home) -> grpc.ChannelCredentials | None:
    """For the local stack in `home`; None for plain text.

    Raises:
        CertificateUnusable: the certificate is missing, damaged or expired.
    """
    authority = Authority(home.certificates)
    return credentials_of(authority.paths(COMMAND)) if authority.exists else None


def tls_advice(target: str, error: str, environment: Mapping[str, str] = os.environ) -> str:
    """What TLS has to do with a call that nobody answered with `error`; empty: nothing."""
    if own_credentials(environment) is not None:
        found = (meaning for sign, meaning in _MEANINGS.items() if sign in error)
        return next(found, "")
    if not _speaks_tls(target):
        return ""
    return f"it speaks TLS: name our files in {', '.join(_FILES)} (docs/tls.md)"


def _speaks_tls(target: str) -> bool:
    host, _, port = target.rpartition("/")[2].rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, int(port)), timeout=_HELLO_SECONDS) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except (OSError, ValueError):
        return False
