"""Access tokens for tests, signed with a key of their own, and an identity service that gives them.

The key is made once a process. `identity_for_tests` answers in the stead of the
identity service what other services ask it: keys and tokens of their own.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from trackops.identity.v1 import identity_pb2, identity_service_pb2

from trackops_common.access_tokens import AccessTokenVerifier, KeySet
from trackops_common.clock import Clock, SystemClock
from trackops_common.grpc.admission import Access
from trackops_common.permissions import Role

__all__ = [
    "FakeIdentity",
    "SigningKey",
    "access_for_tests",
    "access_token",
    "aio_bearer",
    "authorized_aio_channel",
    "authorized_channel",
    "identity_for_tests",
    "key_for_tests",
    "key_set",
]


@dataclass(frozen=True)
class SigningKey:
    """A key pair that signs access tokens."""

    key_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def jwk(self) -> dict[str, Any]:
        """Its public half."""
        public: dict[str, Any] = jwt.algorithms.OKPAlgorithm.to_jwk(
            self.private.public_key(), as_dict=True
        )
        return {**public, "kid": self.key_id, "use": "sig"}

    def sign(self, claims: dict[str, Any]) -> str:
        """The token that says this."""
        header = {"kid": self.key_id, "typ": "at+jwt"}
        return jwt.encode(claims, self.private, algorithm="EdDSA", headers=header)


@cache
def key_for_tests() -> SigningKey:
    """The key of this process."""
    return SigningKey()


def access_token(
    *roles: str,
    subject: str = "somebody",
    key: SigningKey | None = None,
    now: datetime | None = None,
    lifetime: timedelta = timedelta(hours=1),
    **claims: object,
) -> str:
    """A token for `subject` with `roles`, an administrator's if there are none; more `claims`
    replace those that a token has."""
    issued = now or datetime.now(UTC)
    plain = {
        "iss": "trackops",
        "aud": "trackops",
        "sub": subject,
        "iat": issued,
        "exp": issued + lifetime,
        "roles": list(roles or (Role.ADMIN,)),
        "jti": uuid.uuid4().hex,
    }
    return (key or key_for_tests()).sign({**plain, **claims})


def key_set(keys: Iterable[SigningKey]) -> str:
    """The JSON Web Key Set of the public halves."""
    return json.dumps({"keys": [key.jwk for key in keys]})


def access_for_tests(
    clock: Clock | None = None, *, leeway: timedelta = timedelta(seconds=30)
) -> Access:
    """Admits those who carry a token of `key_for_tests`."""
    verifier = AccessTokenVerifier(
        KeySet.parse(key_set([key_for_tests()])),
        clock or SystemClock(),
        issuer="trackops",
        audience="trackops",
        leeway=leeway,
    )

    async def no_newer_keys() -> None: ...

    return Access(verifier, no_newer_keys)


class FakeIdentity:
    """Gives out `keys` and, to any client, tokens of the first of them.

    They are a service's, and those of `development-admin`, say, are an administrator's.
    """

    def __init__(self, *keys: SigningKey) -> None:
        self.keys: Sequence[SigningKey] = keys or (SigningKey(),)
        self.token_lifetime = timedelta(minutes=10)
        self.asked: list[str] = []
        """Names of the RPCs that were called."""
        self._server = grpc.server(
            ThreadPoolExecutor(4, thread_name_prefix="identity"),
            options=[("grpc.so_reuseport", 0)],
        )
        self._server.add_generic_rpc_handlers((self._handlers(),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.target = f"127.0.0.1:{port}"
        """host:port"""
        self._server.start()

    def _handlers(self) -> grpc.GenericRpcHandler:
        service = identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"]
        answers = {"GetKeySet": self._key_set, "IssueServiceToken": self._service_token}
        return grpc.method_handlers_generic_handler(
            service.full_name,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    partial(self._answer, name, answer),
                    request_deserializer=GetMessageClass(
                        service.methods_by_name[name].input_type
                    ).FromString,
                    response_serializer=lambda message: message.SerializeToString(),
                )
                for name, answer in answers.items()
            },
        )

    def _answer(self, name: str, answer: Callable[[Any], Message], request: Any, _: Any) -> Message:
        self.asked.append(name)
        return answer(request)

    def _key_set(self, _: Any) -> Message:
        return identity_service_pb2.GetKeySetResponse(key_set_json=key_set(self.keys))

    def _service_token(self, request: identity_service_pb2.IssueServiceTokenRequest) -> Message:
        expire_time = Timestamp()
        expire_time.FromDatetime(datetime.now(UTC) + self.token_lifetime)
        _, development, role = request.client_id.rpartition("development-")
        text = access_token(
            Role(role) if development else Role.SERVICE,
            subject=f"client:{request.client_id}",
            key=self.keys[0],
            lifetime=self.token_lifetime,
        )
        tokens = identity_pb2.Tokens(access_token=text, access_expire_time=expire_time)
        return identity_service_pb2.IssueServiceTokenResponse(tokens=tokens)

    def stop(self) -> None:
        """Go away."""
        self._server.stop(grace=None).wait()


@cache
def identity_for_tests() -> FakeIdentity:
    """One for the whole process, which gives out `key_for_tests`."""
    return FakeIdentity(key_for_tests())


class _Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._authorized(details), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._authorized(details), request)

    def _authorized(self, details: Any) -> Any:
        own = list(details.metadata or ())
        if not any(name == "authorization" for name, _ in own):
            own.append(("authorization", f"Bearer {self._token()}"))
        return details._replace(metadata=own)


def authorized_channel(target: str, token: Callable[[], str] = access_token) -> grpc.Channel:
    """A channel whose calls carry `token()`, unless they have an `authorization` of their own."""
    channel = grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)])
    return grpc.intercept_channel(channel, _Bearer(token))


class _AioBearer:
    def __init__(self, token: str) -> None:
        self._entry = ("authorization", f"Bearer {token}")

    def _authorized(self, details: Any) -> Any:
        own = tuple(details.metadata or ())
        if any(name == "authorization" for name, _ in own):
            return details
        return details._replace(metadata=grpc.aio.Metadata(*own, self._entry))


class _AioBearerUnary(_AioBearer, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(self._authorized(details), request)


class _AioBearerStream(_AioBearer, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(self._authorized(details), request)


def authorized_aio_channel(target: str, token: str | None = None) -> grpc.aio.Channel:
    """`authorized_channel` for `grpc.aio`; an administrator's token unless given one."""
    return grpc.aio.insecure_channel(
        target,
        options=[("grpc.enable_http_proxy", 0)],
        interceptors=aio_bearer(token or access_token()),
    )


def aio_bearer(token: str) -> Sequence[grpc.aio.ClientInterceptor]:
    """Has the calls of a `grpc.aio` channel carry `token`, unless they have one of their own."""
    return [_AioBearerUnary(token), _AioBearerStream(token)]
