"""The identity service as its callers see it, over gRPC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import grpc
import jwt
import pytest
import redis
from pydantic import SecretStr
from trackops.identity.v1 import identity_events_pb2, identity_pb2
from trackops.identity.v1 import identity_service_pb2 as pb
from trackops.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from trackops_cli.testing import Database
from trackops_common import database as database_module
from trackops_common.database import Rows
from trackops_common.errors import StartRefused
from trackops_common.http_endpoint import Asked
from trackops_common.testing import ErrorDetails, error_details, serving
from trackops_common.testing_tokens import access_token
from trackops_identity.adapters.sweeping import sweep
from trackops_identity.bootstrap import IdentitySettings, bootstrap
from trackops_identity.domain.signing_keys import KeySchedule

PASSWORD = "correct horse battery staple"
OTHER = "another horse, another staple"

Start = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def start(database: Database) -> Start:
    """Starts the service with these settings, as often as wanted, on one database."""

    @asynccontextmanager
    async def starting(**settings: Any) -> AsyncIterator[Any]:
        configured = IdentitySettings(**{**cheap_settings(database), **settings})
        async with bootstrap(configured) as application, serving(application) as channel:
            yield IdentityServiceStub(channel)

    return starting


@pytest.fixture
async def stub(start: Start) -> AsyncIterator[Any]:
    async with start() as one:
        yield one


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


async def test_a_registered_person_logs_in_whatever_the_case_of_the_address(stub: Any) -> None:
    user = await register(stub, "Ada@Example.com")
    assert (user.email, list(user.roles)) == ("Ada@Example.com", [identity_pb2.ROLE_CUSTOMER])
    answer = await stub.Login(login("ada@EXAMPLE.com"))
    assert answer.session.user_id == user.user_id
    assert (answer.session.device, answer.session.address) == ("test", "127.0.0.1")
    claims = await verified(stub, answer.tokens.access_token)
    assert (claims["sub"], claims["sid"]) == (user.user_id, answer.session.session_id)
    assert claims["roles"] == ["customer"]


async def verified(stub: Any, token: str) -> dict[str, Any]:
    key_set = jwt.PyJWKSet.from_json((await stub.GetKeySet(pb.GetKeySetRequest())).key_set_json)
    key = key_set[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key, algorithms=["EdDSA"], audience="trackops", issuer="trackops")


async def test_a_repeated_registration_finds_the_account_it_made(stub: Any) -> None:
    request = registration()
    first = await stub.RegisterUser(request)
    assert await stub.RegisterUser(request) == first
    request.email = "bob@example.com"
    assert (await reason(stub.RegisterUser(request)))[1] == "REQUEST_ID_REUSED"
    taken = await reason(stub.RegisterUser(registration("ADA@example.com")))
    assert taken == (grpc.StatusCode.ALREADY_EXISTS, "EMAIL_TAKEN")


async def test_a_refused_password_is_a_wrong_field(stub: Any) -> None:
    request = registration()
    request.password = "short"
    wrong = await refusal(stub.RegisterUser(request))
    assert (wrong.code, wrong.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert wrong.violations == {"password": "has fewer than 15 characters"}


async def test_the_letter_proves_the_address_once(stub: Any, database: Database) -> None:
    await register(stub)
    (letter,) = letters(database)
    assert letter.kind == identity_events_pb2.LETTER_KIND_VERIFY_EMAIL
    request = pb.VerifyEmailRequest(token=letter.token)
    assert (await stub.VerifyEmail(request)).user.email_verified
    assert await reason(stub.VerifyEmail(request)) == INVALID_TOKEN


async def test_a_wrong_password_and_an_unknown_account_get_one_answer(stub: Any) -> None:
    await register(stub)
    wrong = await refusal(stub.Login(login(password=OTHER)))
    unknown = await refusal(stub.Login(login("bob@example.com")))
    assert (wrong.code, wrong.reason) == INVALID_CREDENTIALS
    assert wrong == unknown


async def test_guesses_are_slowed_down_for_unknown_accounts_too(stub: Any) -> None:
    await register(stub)
    for email in ("ada@example.com", "nobody@example.com"):
        for _ in range(6):
            assert await reason(stub.Login(login(email, OTHER))) == INVALID_CREDENTIALS
        slowed = await refusal(stub.Login(login(email)))
        assert (slowed.code, slowed.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "TOO_MANY_ATTEMPTS",
        )
        assert slowed.retry_after_seconds is not None
        assert 0 < slowed.retry_after_seconds <= 1


async def test_guesses_at_once_share_one_allowance(stub: Any) -> None:
    await register(stub)
    outcomes = await asyncio.gather(
        *(reason(stub.Login(login(password=f"{OTHER} {n}"))) for n in range(30))
    )
    assert outcomes.count(INVALID_CREDENTIALS) == 6
    assert [one for _, one in outcomes].count("TOO_MANY_ATTEMPTS") == 24


async def test_a_right_password_is_forgiven_the_wrong_ones_before(stub: Any) -> None:
    await register(stub)
    for _ in range(3):
        for _ in range(5):
            assert await reason(stub.Login(login(password=OTHER))) == INVALID_CREDENTIALS
        await stub.Login(login())


async def test_a_refresh_token_is_good_once_and_an_old_one_ends_the_session(
    stub: Any, database: Database
) -> None:
    await register(stub)
    answer = await stub.Login(login())
    first = answer.tokens.refresh_token
    second = (await stub.RefreshTokens(refresh(first))).tokens.refresh_token
    third = (await stub.RefreshTokens(refresh(second))).tokens.refresh_token
    assert len({first, second, third}) == 3
    assert await reason(stub.RefreshTokens(refresh(first))) == INVALID_TOKEN
    assert await reason(stub.RefreshTokens(refresh(third))) == INVALID_TOKEN
    assert revoked_sessions(database) == [answer.session.session_id]


async def test_of_twenty_uses_of_one_refresh_token_at_once_one_succeeds(
    stub: Any, database: Database
) -> None:
    await register(stub)
    answer = await stub.Login(login())
    request = refresh(answer.tokens.refresh_token)
    outcomes = await asyncio.gather(
        *(stub.RefreshTokens(request) for _ in range(20)), return_exceptions=True
    )
    assert [isinstance(one, pb.RefreshTokensResponse) for one in outcomes].count(True) == 1
    assert revoked_sessions(database) == [answer.session.session_id]


async def test_a_made_up_refresh_token_ends_no_session(stub: Any) -> None:
    await register(stub)
    token = (await stub.Login(login())).tokens.refresh_token
    assert await reason(stub.RefreshTokens(refresh("A" + token[1:]))) == INVALID_TOKEN
    await stub.RefreshTokens(refresh(token))


async def test_logging_out_ends_the_session_and_is_harmless_to_repeat(
    stub: Any, database: Database
) -> None:
    await register(stub)
    answer = await stub.Login(login())
    request = pb.LogoutRequest(refresh_token=answer.tokens.refresh_token)
    await stub.Logout(request)
    await stub.Logout(request)
    assert await reason(stub.RefreshTokens(refresh(request.refresh_token))) == INVALID_TOKEN
    assert revoked_sessions(database) == [answer.session.session_id]


async def test_a_person_sees_and_ends_their_sessions(stub: Any) -> None:
    user, bob = await register(stub), await register(stub, "bob@example.com")
    sessions = [(await stub.Login(login())).session for _ in range(3)]
    bobs = (await stub.Login(login("bob@example.com"))).session
    listing = pb.ListSessionsRequest(user_id=user.user_id)
    seen = (await stub.ListSessions(listing)).sessions
    assert [one.session_id for one in seen] == [one.session_id for one in reversed(sessions)]

    chosen = pb.RevokeSessionsRequest(
        user_id=user.user_id, session_ids=[sessions[0].session_id, bobs.session_id]
    )
    assert list((await stub.RevokeSessions(chosen)).session_ids) == [sessions[0].session_id]
    everything = pb.RevokeSessionsRequest(user_id=user.user_id)
    assert len((await stub.RevokeSessions(everything)).session_ids) == 2
    assert len((await stub.RevokeSessions(everything)).session_ids) == 0
    assert not (await stub.ListSessions(listing)).sessions
    theirs = await stub.ListSessions(pb.ListSessionsRequest(user_id=bob.user_id))
    assert [one.session_id for one in theirs.sessions] == [bobs.session_id]


async def test_a_changed_password_ends_all_sessions(stub: Any) -> None:
    user = await register(stub)
    token = (await stub.Login(login())).tokens.refresh_token
    change = pb.ChangePasswordRequest(user_id=user.user_id, password=OTHER, new_password=PASSWORD)
    assert await reason(stub.ChangePassword(change)) == INVALID_CREDENTIALS
    change.password, change.new_password = PASSWORD, OTHER
    await stub.ChangePassword(change)
    assert await reason(stub.RefreshTokens(refresh(token))) == INVALID_TOKEN
    assert await reason(stub.Login(login())) == INVALID_CREDENTIALS
    await stub.Login(login(password=OTHER))


async def test_a_forgotten_password_is_replaced_with_a_letter_once(
    stub: Any, database: Database
) -> None:
    await register(stub)
    old = (await stub.Login(login())).tokens.refresh_token
    ask = pb.RequestPasswordResetRequest(email="ADA@example.com")
    await stub.RequestPasswordReset(ask)
    await stub.RequestPasswordReset(pb.RequestPasswordResetRequest(email="nobody@example.com"))
    _, letter = letters(database)
    assert letter.kind == identity_events_pb2.LETTER_KIND_RESET_PASSWORD
    reset = pb.ResetPasswordRequest(token=letter.token, new_password=OTHER)
    await stub.ResetPassword(reset)
    assert await reason(stub.ResetPassword(reset)) == INVALID_TOKEN
    assert await reason(stub.RefreshTokens(refresh(old))) == INVALID_TOKEN
    await stub.Login(login(password=OTHER))


async def test_letters_are_not_sent_without_end(stub: Any, database: Database) -> None:
    await register(stub)
    ask = pb.RequestPasswordResetRequest(email="ada@example.com")
    for _ in range(4):
        await stub.RequestPasswordReset(ask)
    assert (await reason(stub.RequestPasswordReset(ask)))[1] == "TOO_MANY_ATTEMPTS"
    assert len(letters(database)) == 1 + 4


async def test_roles_are_in_the_tokens_from_the_next_refresh_on(stub: Any) -> None:
    user = await register(stub)
    token = (await stub.Login(login())).tokens.refresh_token
    roles = [identity_pb2.ROLE_CUSTOMER, identity_pb2.ROLE_SUPPORT]
    await stub.SetUserRoles(pb.SetUserRolesRequest(user_id=user.user_id, roles=roles))
    tokens = (await stub.RefreshTokens(refresh(token))).tokens
    assert (await verified(stub, tokens.access_token))["roles"] == ["customer", "support"]
    shown = (await stub.GetUser(pb.GetUserRequest(user_id=user.user_id))).user
    assert list(shown.roles) == roles
    unknown = pb.SetUserRolesRequest(user_id=str(uuid4()), roles=roles)
    assert (await reason(stub.SetUserRoles(unknown)))[1] == "USER_NOT_FOUND"


async def test_of_the_last_two_administrators_one_stays_one(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    async with start() as stub:
        email, password = first_admin(capsys)
        session = (await stub.Login(login(email, password, OTHER))).session
        other = (await register(stub)).user_id
        await stub.SetUserRoles(roles_request(other, identity_pb2.ROLE_ADMIN))
        outcomes = await asyncio.gather(
            *(
                stub.SetUserRoles(roles_request(user_id, identity_pb2.ROLE_CUSTOMER))
                for user_id in (session.user_id, other)
            ),
            return_exceptions=True,
        )
        (refused,) = [one for one in outcomes if isinstance(one, grpc.aio.AioRpcError)]
        assert error_details(refused).reason == "LAST_ADMIN"


def roles_request(user_id: str, *roles: identity_pb2.Role.ValueType) -> pb.SetUserRolesRequest:
    return pb.SetUserRolesRequest(user_id=user_id, roles=roles)


def first_admin(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Address and password, as they were printed; fails unless that was once."""
    (line,) = capsys.readouterr().out.splitlines()
    return str(line).removeprefix("The first administrator: ").split(" / ")


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


async def test_a_hash_of_old_parameters_is_replaced_at_log_in(
    start: Start, database: Database
) -> None:
    query = "SELECT password_hash FROM users WHERE email = 'ada@example.com'"
    async with start() as stub:
        await register(stub)
    ((before,),) = read(database, query)
    async with start(argon2_time_cost=2) as stub:
        await stub.Login(login())
        ((after,),) = read(database, query)
        assert ("t=1" in before, "t=2" in after) == (True, True)
        await stub.Login(login())


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


async def test_a_password_that_was_handed_out_must_be_replaced(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    async with start() as stub:
        email, password = first_admin(capsys)
        for _ in range(10):  # the password is right: nothing is held against anybody
            wanted = await reason(stub.Login(login(email, password)))
            assert wanted == (grpc.StatusCode.FAILED_PRECONDITION, "PASSWORD_MUST_CHANGE")
        same = await refusal(stub.Login(login(email, password, password)))
        assert same.violations == {"password": "is the one that is to be replaced"}
        short = await refusal(stub.Login(login(email, password, "short")))
        assert short.violations == {"password": "has fewer than 15 characters"}
        wrong = await reason(stub.Login(login(email, OTHER, PASSWORD)))
        assert wrong == INVALID_CREDENTIALS
        await stub.Login(login(email, password, PASSWORD))
        assert await reason(stub.Login(login(email, password))) == INVALID_CREDENTIALS
        await stub.Login(login(email, PASSWORD))


async def test_a_new_password_at_log_in_ends_the_sessions_before(
    stub: Any, database: Database
) -> None:
    await register(stub)
    before = await stub.Login(login())
    after = await stub.Login(login(new_password=OTHER))
    assert revoked_sessions(database) == [before.session.session_id]
    assert await reason(stub.RefreshTokens(refresh(before.tokens.refresh_token))) == INVALID_TOKEN
    await stub.RefreshTokens(refresh(after.tokens.refresh_token))


FORWARDED = (("x-forwarded-for", "203.0.113.9, 198.51.100.7"),)


async def test_a_stranger_does_not_choose_where_it_seems_to_come_from(stub: Any) -> None:
    await register(stub)
    answer = await stub.Login(login(), metadata=FORWARDED)
    assert answer.session.address == "127.0.0.1"


async def test_a_trusted_proxy_says_where_a_call_came_from(start: Start) -> None:
    async with start(trusted_proxies="127.0.0.0/8,10.0.0.0/8") as stub:
        await register(stub)
        answer = await stub.Login(login(), metadata=FORWARDED)
        assert answer.session.address == "198.51.100.7"


async def test_an_address_behind_a_proxy_is_throttled_by_itself(start: Start) -> None:
    async with start(trusted_proxies="127.0.0.1") as stub:
        for n in range(51):
            guess = stub.Login(login(f"{n}@example.com"), metadata=FORWARDED)
            assert await reason(guess) == INVALID_CREDENTIALS
        slowed = stub.Login(login("new@example.com"), metadata=FORWARDED)
        assert (await reason(slowed))[1] == "TOO_MANY_ATTEMPTS"
        other = (("x-forwarded-for", "198.51.100.8"),)
        elsewhere = stub.Login(login("new@example.com"), metadata=other)
        assert await reason(elsewhere) == INVALID_CREDENTIALS


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


async def test_what_is_too_old_to_matter_is_swept_in_batches(stub: Any, database: Database) -> None:
    await register(stub)
    kept = await stub.Login(login())
    own = database_module.Database(database.url("trackops_identity"), application_name="test")
    try:
        own.execute(
            "INSERT INTO sessions (session_id, user_id, device, address, counter, create_time,"
            " use_time, expire_time) SELECT gen_random_uuid(), user_id, '', '', 1, now(), now(),"
            " now() - interval '31 days' FROM users, generate_series(1, 25)"
            " WHERE email = 'ada@example.com'"
        )
        own.execute(
            "INSERT INTO throttles SELECT 'old ' || n, 1, now() - interval '3 days'"
            " FROM generate_series(1, 5) AS n"
        )
        assert sweep(own, batch_rows=10) == 30
        assert sweep(own, batch_rows=10) == 0
    finally:
        own.close()
    left = read(database, "SELECT session_id FROM sessions")
    assert [str(row[0]) for row in left] == [kept.session.session_id]
    assert len(read(database, "SELECT FROM throttles")) == 2


async def test_a_person_has_to_do_with_the_own_account_only(stub: Any) -> None:
    ada, ben = await register(stub, "ada@example.com"), await register(stub, "ben@example.com")
    as_ada = (
        ("authorization", f"Bearer {access_token('customer', 'support', subject=ada.user_id)}"),
    )

    def calls(user_id: str) -> list[Any]:
        return [
            stub.GetUser(pb.GetUserRequest(user_id=user_id), metadata=as_ada),
            stub.ListSessions(pb.ListSessionsRequest(user_id=user_id), metadata=as_ada),
            stub.RevokeSessions(pb.RevokeSessionsRequest(user_id=user_id), metadata=as_ada),
            stub.ChangePassword(
                pb.ChangePasswordRequest(user_id=user_id, password=PASSWORD, new_password=OTHER),
                metadata=as_ada,
            ),
        ]

    for call in calls(ada.user_id.upper()):
        await call
    permissions = ["users.read", "sessions.read", "sessions.revoke", "users.password"]
    for call, permission in zip(calls(ben.user_id), permissions, strict=True):
        details = await refusal(call)
        assert details.code is grpc.StatusCode.PERMISSION_DENIED
        assert details.metadata == {"permission": permission}
    await stub.Login(login("ben@example.com"))


async def test_an_emptied_redis_logs_nobody_out_and_brings_nobody_back(
    start: Start, redis_url: str
) -> None:
    async with start(redis_url=SecretStr(redis_url)) as stub:
        await register(stub)
        alive = (await stub.Login(login())).tokens.refresh_token
        dead = (await stub.Login(login())).tokens.refresh_token
        await stub.Logout(pb.LogoutRequest(refresh_token=dead))
        for _ in range(2):
            assert await reason(stub.RefreshTokens(refresh(dead))) == INVALID_TOKEN
            alive = (await stub.RefreshTokens(refresh(alive))).tokens.refresh_token
            with redis.Redis.from_url(redis_url) as client:
                client.flushall()


async def test_without_redis_sessions_begin_go_on_and_end(start: Start) -> None:
    async with start(redis_url=SecretStr("redis://127.0.0.1:1/0")) as stub:
        await register(stub)
        token = (await stub.Login(login())).tokens.refresh_token
        token = (await stub.RefreshTokens(refresh(token))).tokens.refresh_token
        await stub.Logout(pb.LogoutRequest(refresh_token=token))
        assert await reason(stub.RefreshTokens(refresh(token))) == INVALID_TOKEN
