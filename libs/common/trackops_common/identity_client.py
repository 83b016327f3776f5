"""The identity service, asked for what makes the mesh's calls trusted: keys and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
import jwt
from trackops.identity.v1.identity_service_pb2 import GetKeySetRequest, IssueServiceTokenRequest
from trackops.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from trackops_common.access_tokens import KeySet
from trackops_common.errors import TransientError
from trackops_common.grpc.channels import open_blocking_channel
from trackops_common.tls import TlsFiles

__all__ = ["ServiceToken", "bearer", "key_set_at", "parse_key_set", "service_token_at"]

_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ServiceToken:
    """The token in which a service calls others."""

    text: str = field(repr=False)
    expire_time: datetime


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call that carries a token; none where it is empty."""
    return (("authorization", f"Bearer {token}"),) if token else ()


def key_set_at(target: str, tls: TlsFiles | None = None) -> str:
    """The key set of the identity service at `target` (host:port, or any gRPC name), as JSON.

    Raises:
        TransientError: it does not answer.
    """
    with _calling(target, tls) as identity:
        answer = identity.GetKeySet(GetKeySetRequest(), timeout=_SECONDS)
    return answer.key_set_json


def parse_key_set(text: str) -> KeySet:
    """The keys of a key set.

    Raises:
        TransientError: it is none, or has no key that we take; the next one may.
    """
    try:
        return KeySet.parse(text)
    except (jwt.PyJWTError, ValueError) as error:
        raise TransientError(f"the identity service gave no key set: {error}") from error


def service_token_at(
    target: str, client_id: str, client_secret: str, tls: TlsFiles | None = None
) -> ServiceToken:
    """A token for a program, from the identity service at `target`.

    Raises:
        TransientError: it does not answer, or does not know the program by this secret: a client
            may be made after its program has started.
    """
    request = IssueServiceTokenRequest(client_id=client_id, client_secret=client_secret)
    with _calling(target, tls) as identity:
        tokens = identity.IssueServiceToken(request, timeout=_SECONDS).tokens
    return ServiceToken(tokens.access_token, tokens.access_expire_time.ToDatetime(tzinfo=UTC))


@contextmanager
def _calling(target: str, tls: TlsFiles | None) -> Iterator[IdentityServiceStub]:
    with open_blocking_channel(target, tls) as channel:
        try:
            yield IdentityServiceStub(channel)
        except grpc.RpcError as error:
            call: Any = error
            said = f"{call.code().name}: {call.details()}"
            raise TransientError(f"the identity service does not answer: {said}") from error
