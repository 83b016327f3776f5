"""What the tests ask the identity service, and how they read its answers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import grpc
import jwt
import pytest
from pydantic import SecretStr
from trackops.identity.v1 import identity_events_pb2, identity_pb2
from trackops.identity.v1 import identity_service_pb2 as pb

from trackops_cli.testing import Database
from trackops_common import database as database_module
from trackops_common.database import Rows
from trackops_common.testing import ErrorDetails, error_details

PASSWORD = "correct horse battery staple"
OTHER = "another horse, another staple"
FORWARDED = (("x-forwarded-for", "203.0.113.9, 198.51.100.7"),)

Start = Callable[..., AbstractAsyncContextManager[Any]]


def cheap_settings(database: Database) -> dict[str, Any]:
    return {
        "argon2_time_cost": 1,
        "argon2_memory_kibibytes": 8,
        "argon2_parallelism": 1,
        "listen": "",
        "database_url": SecretStr(database.url("trackops_identity")),
        "token_seal_key": SecretStr("a seal key of this test, 32 characters"),
        "key_encryption_key": SecretStr("an encryption key of this test, 32"),
    }


async def refusal(call: Any) -> ErrorDetails:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return error_details(raised.value)


async def reason(call: Any) -> tuple[grpc.StatusCode, str]:
    details = await refusal(call)
    return details.code, details.reason


INVALID_TOKEN = (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
INVALID_CREDENTIALS = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")


def registration(email: str = "ada@example.com") -> pb.RegisterUserRequest:
    return pb.RegisterUserRequest(request_id=str(uuid4()), email=email, password=PASSWORD)


async def register(stub: Any, email: str = "ada@example.com") -> identity_pb2.User:
    user: identity_pb2.User = (await stub.RegisterUser(registration(email))).user
    return user


def login(
    email: str = "ada@example.com", password: str = PASSWORD, new_password: str = ""
) -> pb.LoginRequest:
    return pb.LoginRequest(email=email, password=password, device="test", new_password=new_password)


def refresh(token: str) -> pb.RefreshTokensRequest:
    return pb.RefreshTokensRequest(refresh_token=token)


def read(database: Database, query: str) -> Rows:
    connection = database_module.Database(
        database.url("trackops_identity"), application_name="test"
    )
    try:
        return connection.fetch(query)
    finally:
        connection.close()


def letters(database: Database) -> list[identity_events_pb2.LetterRequested]:
    rows = read(database, "SELECT payload FROM outbox WHERE topic LIKE '%%letters%%' ORDER BY seq")
    return [identity_events_pb2.LetterRequested.FromString(bytes(row[0])) for row in rows]


def revoked_sessions(database: Database) -> list[str]:
    rows = read(
        database, "SELECT payload FROM outbox WHERE type LIKE '%%SessionsRevoked' ORDER BY seq"
    )
    events = [identity_events_pb2.SessionsRevoked.FromString(bytes(row[0])) for row in rows]
    return [session_id for event in events for session_id in event.session_ids]


async def verified(stub: Any, token: str) -> dict[str, Any]:
    key_set = jwt.PyJWKSet.from_json((await stub.GetKeySet(pb.GetKeySetRequest())).key_set_json)
    key = key_set[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key, algorithms=["EdDSA"], audience="trackops", issuer="trackops")


def roles_request(user_id: str, *roles: identity_pb2.Role.ValueType) -> pb.SetUserRolesRequest:
    return pb.SetUserRolesRequest(user_id=user_id, roles=roles)


def first_admin(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Address and password, as they were printed; fails unless that was once."""
    (line,) = capsys.readouterr().out.splitlines()
    return str(line).removeprefix("The first administrator: ").split(" / ")
