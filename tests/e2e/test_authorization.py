"""Every RPC of every service, called as every kind of caller, against the table of permissions.

The mesh's own servers answer. Tokens that nobody should have are signed with the
mesh's own key, so that each is wrong in the one thing that it is named after.
"""

from __future__ import annotations

import base64
import hmac
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import grpc
import jwt
import psycopg2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from trackops.identity.v1 import identity_service_pb2
from trackops.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from trackops_cli.testing import Mesh, wait_for
from trackops_common.contracts import rpcs
from trackops_common.grpc.admission import authorization_of
from trackops_common.permissions import Permission, Role, Scope, scope_of
from trackops_common.testing import error_details
from trackops_common.testing_tokens import SigningKey, access_token
from trackops_identity.adapters.access_tokens import Ed25519Keys
from trackops_identity.domain.signing_keys import SigningKey as StoredKey

SERVICE_OF = {
    "trackops.common.v1": "order",  # every server has what is in it
    "trackops.identity.v1": "identity",
    "trackops.inventory.v1": "inventory",
    "trackops.order.v1": "order",
    "trackops.payment.v1": "payment",
    "trackops.relay.v1": "outbox_relay",
    "trackops.saga.v1": "saga_orchestrator",
}
ADMITTED = "admitted"
NOT_GOOD = {
    "nobody": "TOKEN_MISSING",
    "another scheme": "TOKEN_MISSING",
    "two tokens": "TOKEN_INVALID",
    "no token": "TOKEN_INVALID",
    "expired": "TOKEN_EXPIRED",
    "another audience": "TOKEN_INVALID",
    "another issuer": "TOKEN_INVALID",
    "of another key": "TOKEN_INVALID",
    "alg none": "TOKEN_INVALID",
    "HS256 with the public key": "TOKEN_INVALID",
    "of a session that has ended": "TOKEN_INVALID",
}
"""The reason that each caller without a good token is to be given."""


@pytest.fixture(scope="module")
def channels(mesh: Mesh) -> Iterator[Mapping[str, grpc.Channel]]:
    with ExitStack() as stack:
        yield {
            service: stack.enter_context(grpc.insecure_channel(mesh.target(service)))
            for service in SERVICE_OF.values()
        }


@pytest.fixture(scope="module")
def key(mesh: Mesh) -> SigningKey:
    """The key with which the mesh's identity service signs."""
    with psycopg2.connect(mesh.admin_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT key_id, public_key, encrypted_private_key, sign_time"
            " FROM trackops_identity.signing_keys ORDER BY sign_time LIMIT 1"
        )
        row: Any = cursor.fetchone()
    connection.close()
    stored = StoredKey(row[0], bytes(row[1]), bytes(row[2]), row[3])
    secret = mesh.addresses.secrets["TRACKOPS_KEY_ENCRYPTION_KEY"]
    return SigningKey(stored.key_id, Ed25519Keys(secret).private_half(stored))


@pytest.fixture(scope="module")
def ended_session(mesh: Mesh, key: SigningKey, channels: Mapping[str, grpc.Channel]) -> str:
    """The token of a session that its owner has ended; every service has heard of it."""
    identity = IdentityServiceStub(channels["identity"])
    email, password = f"{uuid.uuid4().hex}@example.com", uuid.uuid4().hex
    identity.RegisterUser(
        identity_service_pb2.RegisterUserRequest(
            request_id=str(uuid.uuid4()), email=email, password=password
        )
    )
    tokens = identity.Login(
        identity_service_pb2.LoginRequest(email=email, password=password)
    ).tokens
    text: str = tokens.access_token
    identity.Logout(identity_service_pb2.LogoutRequest(refresh_token=tokens.refresh_token))
    one_of_each = {_service_of(rpc): rpc for rpc in rpcs() if not _is_public(rpc)}
    for service, rpc in one_of_each.items():
        heard = partial(_answer, channels, rpc, [_bearer(text)])
        wait_for(partial(_is, "TOKEN_INVALID", heard), what=f"{service} to hear of it")
    return text


@pytest.fixture(scope="module")
def callers(mesh: Mesh, key: SigningKey, ended_session: str) -> Mapping[str, list[tuple[str, str]]]:
    """The metadata of each caller's calls."""
    good = mesh.token()
    ago = datetime.now(UTC) - timedelta(hours=2)
    return {
        **{role: [_bearer(mesh.token(role))] for role in Role},
        "nobody": [],
        "another scheme": [("authorization", f"Basic {good}")],
        "two tokens": [_bearer(good), _bearer(good)],
        "no token": [_bearer("what")],
        "expired": [_bearer(access_token(key=key, now=ago))],
        "another audience": [_bearer(access_token(key=key, aud="another"))],
        "another issuer": [_bearer(access_token(key=key, iss="another"))],
        "of another key": [_bearer(access_token(key=SigningKey()))],
        "alg none": [_bearer(_unsigned(good))],
        "HS256 with the public key": [_bearer(_signed_with_public(good, key.private))],
        "of a session that has ended": [_bearer(ended_session)],
    }


def test_the_good_tokens_are_good_for_what_they_say(
    key: SigningKey, channels: Mapping[str, grpc.Channel]
) -> None:
    """Else the wrong ones would be refused for something else."""
    (rpc,) = (one for one in rpcs() if one.full_name.endswith("OrderService.ListOrders"))
    assert _answer(channels, rpc, [_bearer(access_token(key=key))]) == ADMITTED


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.full_name)
def test_who_may_call(
    rpc: MethodDescriptor,
    callers: Mapping[str, list[tuple[str, str]]],
    channels: Mapping[str, grpc.Channel],
) -> None:
    answers = {name: _answer(channels, rpc, metadata) for name, metadata in callers.items()}

    assert answers == {name: _expected(rpc, name) for name in callers}


def _expected(rpc: MethodDescriptor, caller: str) -> str:
    option = authorization_of(rpc)
    if option.public:
        return ADMITTED
    if caller in NOT_GOOD:
        return NOT_GOOD[caller]
    scope = scope_of(frozenset({caller}), Permission(option.permission))
    may = scope is Scope.ALL or (scope is Scope.OWN and option.own_resources)
    return ADMITTED if may else f"PERMISSION_DENIED {option.permission}"


def _answer(
    channels: Mapping[str, grpc.Channel], rpc: MethodDescriptor, metadata: list[tuple[str, str]]
) -> str:
    """What an empty request of this caller gets; most are refused for that, once admitted."""
    channel = channels[_service_of(rpc)]
    path = f"/{rpc.containing_service.full_name}/{rpc.name}"
    kind = channel.unary_stream if rpc.server_streaming else channel.unary_unary
    call: Any = kind(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(rpc.output_type).FromString,
    )
    try:
        answer = call(GetMessageClass(rpc.input_type)(), timeout=20, metadata=metadata)
        if rpc.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        return _refusal(error) if _refuses_caller(error) else ADMITTED
    return ADMITTED


def _refuses_caller(error: grpc.RpcError) -> bool:
    """Also credentials in a request may be UNAUTHENTICATED; those have other reasons."""
    status: Any = error
    codes = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
    assert status.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED)
    return status.code() in codes


def _refusal(error: grpc.RpcError) -> str:
    details = error_details(error)
    return " ".join([details.reason, *details.metadata.values()])


def _is(wanted: str, answer: Callable[[], str]) -> bool:
    return answer() == wanted


def _service_of(rpc: MethodDescriptor) -> str:
    return SERVICE_OF[rpc.containing_service.file.package]


def _is_public(rpc: MethodDescriptor) -> bool:
    return bool(authorization_of(rpc).public)


def _bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {token}")


def _encoded(part: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def _unsigned(token: str) -> str:
    header = jwt.get_unverified_header(token) | {"alg": "none"}
    return f"{_encoded(header)}.{token.split('.')[1]}."


def _signed_with_public(token: str, private: Ed25519PrivateKey) -> str:
    header = jwt.get_unverified_header(token) | {"alg": "HS256"}
    signed = f"{_encoded(header)}.{token.split('.')[1]}"
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signature = hmac.digest(public, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
