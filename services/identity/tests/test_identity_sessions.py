"""Sessions from log-in to their end, over gRPC."""

from __future__ import annotations

import asyncio
from typing import Any

import redis
from pydantic import SecretStr
from trackops.identity.v1 import identity_service_pb2 as pb

from trackops_cli.testing import Database
from trackops_common import database as database_module
from trackops_identity.adapters.sweeping import sweep

from .identity_calls import (
    FORWARDED,
    INVALID_TOKEN,
    OTHER,
    Start,
    login,
    read,
    reason,
    refresh,
    register,
    revoked_sessions,
)


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


async def test_a_new_password_at_log_in_ends_the_sessions_before(
    stub: Any, database: Database
) -> None:
    await register(stub)
    before = await stub.Login(login())
    after = await stub.Login(login(new_password=OTHER))
    assert revoked_sessions(database) == [before.session.session_id]
    assert await reason(stub.RefreshTokens(refresh(before.tokens.refresh_token))) == INVALID_TOKEN
    await stub.RefreshTokens(refresh(after.tokens.refresh_token))


async def test_a_stranger_does_not_choose_where_it_seems_to_come_from(stub: Any) -> None:
    await register(stub)
    answer = await stub.Login(login(), metadata=FORWARDED)
    assert answer.session.address == "127.0.0.1"


async def test_a_trusted_proxy_says_where_a_call_came_from(start: Start) -> None:
    async with start(trusted_proxies="127.0.0.0/8,10.0.0.0/8") as stub:
        await register(stub)
        answer = await stub.Login(login(), metadata=FORWARDED)
        assert answer.session.address == "198.51.100.7"


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
