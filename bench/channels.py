"""How the generators reach what they load."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import grpc

__all__ = ["open_channel", "trust"]

_AUTHORITY = "BENCH_AUTHORITY"


def trust(authority: Path) -> None:
    """Let `open_channel`, in this process and in those it starts from now on, speak TLS."""
    os.environ[_AUTHORITY] = str(authority)


def open_channel(target: str, options: Sequence[tuple[str, int]] = ()) -> grpc.aio.Channel:
    """In plain text, unless somebody is to be trusted."""
    if authority := os.environ.get(_AUTHORITY):
        credentials = grpc.ssl_channel_credentials(Path(authority).read_bytes())
        return grpc.aio.secure_channel(target, credentials, options)
    return grpc.aio.insecure_channel(target, options)
