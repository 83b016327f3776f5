"""Signing keys, programs that log in, and what a start makes and refuses."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import jwt
import pytest
from pydantic import SecretStr
from trackops.identity.v1 import identity_pb2
from trackops.identity.v1 import identity_service_pb2 as pb

from trackops_cli.testing import Database
from trackops_common.errors import StartRefused
from trackops_common.http_endpoint import Asked
from trackops_identity.bootstrap import IdentitySettings, bootstrap
from trackops_identity.domain.signing_keys import KeySchedule

from .identity_calls import (
    INVALID_CREDENTIALS,
    OTHER,
    Start,
    cheap_settings,
    first_admin,
    login,
    reason,
    register,
    verified,
)


async def test_a_program_gets_tokens_with_the_secret_it_was_given(stub: Any) -> None:
    put = pb.PutServiceClientRequest(client_id="batch-job", roles=[identity_pb2.ROLE_SERVICE])
    first = (await stub.PutServiceClient(put)).client_secret
    second = (await stub.PutServiceClient(put)).client_secret
    for secret in (first, second):
        tokens = (
            await stub.IssueServiceToken(
                pb.IssueServiceTokenRequest(client_id="batch-job", client_secret=secret)
            )
        ).tokens
        assert not tokens.refresh_token
        claims = await verified(stub, tokens.access_token)
        assert (claims["sub"], claims["roles"]) == ("client:batch-job", ["service"])
    for client_id, secret in (("batch-job", "wrong"), ("unknown", second)):
        wrong = pb.IssueServiceTokenRequest(client_id=client_id, client_secret=secret)
        assert await reason(stub.IssueServiceToken(wrong)) == INVALID_CREDENTIALS


async def test_a_new_signing_key_is_announced_before_it_signs(stub: Any) -> None:
    await register(stub)
    made = await stub.RotateSigningKey(pb.RotateSigningKeyRequest(reason="a test"))
    key_set = json.loads((await stub.GetKeySet(pb.GetKeySetRequest())).key_set_json)
    assert made.key_id in [key["kid"] for key in key_set["keys"]]
    token = (await stub.Login(login())).tokens.access_token
    assert jwt.get_unverified_header(token)["kid"] != made.key_id


async def test_replicas_that_start_at_once_make_one_administrator_and_one_key(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    async with AsyncExitStack() as stack:
        stubs = await asyncio.gather(*(stack.enter_async_context(start()) for _ in range(3)))
        email, password = first_admin(capsys)
        key_set = json.loads((await stubs[0].GetKeySet(pb.GetKeySetRequest())).key_set_json)
        assert len(key_set["keys"]) == 1
        token = (await stubs[0].Login(login(email, password, OTHER))).tokens.access_token
        assert (await verified(stubs[0], token))["roles"] == ["admin"]


async def test_another_encryption_key_refuses_the_start_and_says_what_to_do(start: Start) -> None:
    async with start():
        pass
    with pytest.raises(StartRefused, match="TRACKOPS_KEY_ENCRYPTION_KEY"):
        async with start(key_encryption_key=SecretStr("quite another key, 32 characters....")):
            pass


async def test_first_clients_are_known_from_the_start(start: Start) -> None:
    request = pb.IssueServiceTokenRequest(client_id="order", client_secret="the secret of order")
    clients = {"order": SecretStr("the secret of order")}
    for _ in range(2):
        async with start(first_clients=clients) as stub:
            await stub.IssueServiceToken(request)


async def test_development_clients_are_there_as_long_as_the_setting(start: Start) -> None:
    secret = "a secret of this test"
    request = pb.IssueServiceTokenRequest(client_id="development-support", client_secret=secret)
    async with start(development_secret=SecretStr(secret)) as stub:
        tokens = (await stub.IssueServiceToken(request)).tokens
        assert (await verified(stub, tokens.access_token))["roles"] == ["support"]
        request.client_secret = "another one"
        assert await reason(stub.IssueServiceToken(request)) == INVALID_CREDENTIALS
    async with start() as stub:
        for request.client_secret in (secret, "x"):
            assert await reason(stub.IssueServiceToken(request)) == INVALID_CREDENTIALS


async def test_the_key_set_is_a_page_that_may_be_kept_for_a_while(
    start: Start, database: Database
) -> None:
    async with start() as stub:
        key_set = (await stub.GetKeySet(pb.GetKeySetRequest())).key_set_json
    async with bootstrap(IdentitySettings(**cheap_settings(database))) as application:
        reply = await application.pages["/.well-known/jwks.json"](Asked())
    assert reply.body.decode() == key_set
    assert reply.content_type == "application/jwk-set+json"
    assert 0 < reply.max_age_seconds < KeySchedule().announced_for.total_seconds()
