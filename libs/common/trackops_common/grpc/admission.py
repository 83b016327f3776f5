"""Whether a call may come in: its token, and the permission that the contract names for its RPC.

An admission is made for each RPC at start, so that a call pays for a look at
its metadata and two look-ups; a token that was seen before costs no signature.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import structlog
from google.protobuf.descriptor import MethodDescriptor
from trackops.common.v1.authorization_pb2 import Authorization, authorization

from trackops_common.access_tokens import (
    AccessTokenVerifier,
    ExpiredToken,
    TokenRejected,
    UnknownKey,
)
from trackops_common.auth import ANYONE, Caller, Principal, caller, enter_call
from trackops_common.errors import (
    PermissionDenied,
    StartRefused,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
)
from trackops_common.permissions import Permission, Scope, scope_of

__all__ = ["Access", "Admission", "RpcUnguarded", "authorization_of"]

_log = structlog.get_logger(__name__)

_SCHEME = "bearer "

Metadata = Iterable[tuple[str, str | bytes]]


class RpcUnguarded(StartRefused):
    """The contract does not say, in a way that this server knows, who may call an RPC."""

    def __init__(self, rpc: str, problem: str) -> None:
        super().__init__(f"{rpc} {problem}: see trackops/common/v1/authorization.proto")
        self.rpc = rpc


def authorization_of(method: MethodDescriptor) -> Authorization:
    """What the contract says about who may call an RPC; its permission is one of `Permission`.

    Raises:
        RpcUnguarded: it says nothing, or names a permission that nobody has.
    """
    option: Authorization = method.GetOptions().Extensions[authorization]
    if not option.public and not option.permission:
        raise RpcUnguarded(method.full_name, "has no authorization option")
    if option.permission and option.permission not in set(Permission):
        raise RpcUnguarded(method.full_name, f"names {option.permission!r}, no known permission")
    return option


class Access:
    """What the admissions of one server share."""

    def __init__(
        self, verifier: AccessTokenVerifier, renew_keys: Callable[[], Awaitable[None]]
    ) -> None:
        """`renew_keys` gives the verifier newer keys where that may help; it never raises."""
        self.verifier = verifier
        self.renew_keys = renew_keys


class Admission:
    """Lets the callers of one RPC in, or does not."""

    def __init__(self, method: MethodDescriptor, access: Access) -> None:
        """Raises RpcUnguarded."""
        option = authorization_of(method)
        self._access = access
        self._verify = access.verifier.verify
        self._permission = None if option.public else Permission(option.permission)
        self._serves_owners = option.own_resources

    async def admit(self, metadata: Metadata | None) -> None:
        """Make the caller current (`trackops_common.auth`), for the rest of the task.

        Raises:
            Unauthenticated: it sent no good token.
            PermissionDenied: none of its roles has the permission.
        """
        if self._permission is None:
            enter_call(Caller(ANYONE))
            return
        token = _token(metadata)
        try:
            principal = self._verify(token)
        except UnknownKey:
            principal = await self._verified_with_new_keys(token)
        except TokenRejected as error:
            raise _told(error) from error
        scope = scope_of(principal.roles, self._permission)
        own_only = scope is Scope.OWN
        if scope is None or (own_only and not self._serves_owners):
            raise PermissionDenied(self._permission)
        enter_call(Caller(principal, self._permission, own_only))

    def seconds_left(self) -> float | None:
        """For how long the current caller's token is still good; None: it needs none."""
        return self._access.verifier.seconds_left(caller().principal)

    async def _verified_with_new_keys(self, token: str) -> Principal:
        await self._access.renew_keys()
        try:
            return self._verify(token)
        except TokenRejected as error:
            raise _told(error) from error


def _token(metadata: Metadata | None) -> str:
    sent = [value for name, value in metadata or () if name == "authorization"]
    if not sent:
        raise TokenMissing
    value = sent[0]
    if len(sent) > 1 or not isinstance(value, str):
        raise TokenInvalid
    if value[: len(_SCHEME)].lower() != _SCHEME:
        raise TokenMissing
    return value[len(_SCHEME) :]


def _told(error: TokenRejected) -> TokenExpired | TokenInvalid:
    _log.info("access token refused", why=error.why)
    return TokenExpired() if isinstance(error, ExpiredToken) else TokenInvalid()
