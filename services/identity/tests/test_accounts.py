"""People: accounts, passwords, roles and guesses at them, over gRPC."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import grpc
import pytest
from trackops.identity.v1 import identity_events_pb2, identity_pb2
from trackops.identity.v1 import identity_service_pb2 as pb

from trackops_cli.testing import Database
from trackops_common.testing import error_details
from trackops_common.testing_tokens import access_token

from .identity_calls import (
    FORWARDED,
    INVALID_CREDENTIALS,
    INVALID_TOKEN,
    OTHER,
    PASSWORD,
    Start,
    first_admin,
    letters,
    login,
    read,
    reason,
    refresh,
    refusal,
    register,
    registration,
    roles_request,
    verified,
)


async def test_a_registered_person_logs_in_whatever_the_case_of_the_address(stub: Any) -> None:
    user = await register(stub, "Ada@Example.com")
    assert (user.email, list(user.roles)) == ("Ada@Example.com", [identity_pb2.ROLE_CUSTOMER])
    answer = await stub.Login(login("ada@EXAMPLE.com"))
    assert answer.session.user_id == user.user_id
    assert (answer.session.device, answer.session.address) == ("test", "127.0.0.1")
    claims = await verified(stub, answer.tokens.access_token)
    assert (claims["sub"], claims["sid"]) == (user.user_id, answer.session.session_id)
    assert claims["roles"] == ["customer"]


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
