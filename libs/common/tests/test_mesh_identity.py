"""How a service knows its callers, and makes itself known, with an identity service that goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from trackops_common.access_tokens import TokenRejected
from trackops_common.errors import DependencyUnavailable, StartRefused, TransientError
from trackops_common.grpc.admission import Access
from trackops_common.mesh_identity import ServiceTokens, Verification, verification
from trackops_common.settings import ServiceSettings
from trackops_common.testing import eventually
from trackops_common.testing_tokens import (
    FakeIdentity,
    SigningKey,
    access_for_tests,
    access_token,
    key_set,
)

NOBODY = "127.0.0.1:1"


@pytest.fixture
def identity() -> Iterator[FakeIdentity]:
    made = FakeIdentity(SigningKey())
    yield made
    made.stop()


def settings(target: str, **more: Any) -> ServiceSettings:
    return ServiceSettings(
        listen="127.0.0.1:0",
        database_url=SecretStr("postgresql://x"),
        identity_target=target,
        **more,
    )


async def ready(verifying: Verification) -> Access:
    await asyncio.to_thread(verifying.check)
    await asyncio.sleep(0)  # the loop takes the keys in
    return verifying.access


async def test_tokens_are_verified_with_the_keys_of_the_identity_service(
    identity: FakeIdentity,
) -> None:
    async with verification(settings(identity.target)) as verifying:
        access = await ready(verifying)
        assert access.verifier.verify(access_token(key=identity.keys[0])).name == "somebody"
        with pytest.raises(TokenRejected):
            access.verifier.verify(access_token(key=SigningKey()))


async def test_a_key_that_is_new_is_fetched_and_a_made_up_one_has_nothing_fetched_again(
    identity: FakeIdentity,
) -> None:
    async with verification(settings(identity.target)) as verifying:
        access = await ready(verifying)
        identity.keys = [*identity.keys, SigningKey()]
        before = len(identity.asked)
        for _ in range(50):
            await access.renew_keys()
        assert len(identity.asked) - before <= 1


async def test_keys_at_hand_go_on_being_used_while_the_identity_service_is_away(
    identity: FakeIdentity,
) -> None:
    async with verification(settings(identity.target)) as verifying:
        access = await ready(verifying)
        identity.stop()
        await access.renew_keys()
        verifying.check()
        assert access.verifier.verify(access_token(key=identity.keys[0])).name == "somebody"


async def test_a_service_that_finds_no_keys_is_not_ready() -> None:
    async with verification(settings(NOBODY)) as verifying:
        with pytest.raises(DependencyUnavailable):
            await asyncio.to_thread(verifying.check)


async def test_an_answer_that_is_no_key_set_is_waited_out() -> None:
    answers = iter(["", "[]", '{"keys": []}'])
    async with verification(settings(""), lambda: next(answers, key_set([key]))) as verifying:
        await eventually(lambda: _has_keys(verifying))
        access = await ready(verifying)
        assert access.verifier.verify(access_token(key=key)).name == "somebody"


key = SigningKey()


def _has_keys(verifying: Verification) -> bool:
    try:
        verifying.check()
    except DependencyUnavailable:
        return False
    return True


async def test_a_service_that_is_not_told_where_keys_come_from_does_not_start() -> None:
    with pytest.raises(StartRefused, match="TRACKOPS_IDENTITY_TARGET is missing"):
        async with verification(settings("")):
            pass


def test_a_client_gets_one_token_and_uses_it(identity: FakeIdentity) -> None:
    tokens = ServiceTokens(client(identity))
    assert tokens.at_hand() == ""
    first = tokens.get()
    assert [tokens.get(), tokens.at_hand()] == [first, first]
    assert identity.asked == ["IssueServiceToken"]


def test_a_token_is_renewed_at_half_of_its_life(identity: FakeIdentity) -> None:
    """Of one that lives for less than two seconds, after one."""
    identity.token_lifetime = timedelta(seconds=0.5)
    now = [0.0]
    tokens = ServiceTokens(client(identity), monotonic=lambda: now[0])
    first = tokens.get()
    now[0] += 0.9
    assert tokens.get() == first
    identity.token_lifetime = timedelta(minutes=10)
    now[0] += 0.1
    second = tokens.get()
    assert second != first
    now[0] += 299
    assert tokens.get() == second
    now[0] += 2
    assert tokens.get() != second


def test_a_token_at_hand_is_used_while_the_identity_service_is_away(
    identity: FakeIdentity,
) -> None:
    now = [0.0]
    tokens = ServiceTokens(client(identity), monotonic=lambda: now[0])
    first = tokens.get()
    identity.stop()
    now[0] += 400
    assert tokens.get() == first


def test_a_client_without_a_token_waits_for_one() -> None:
    with pytest.raises(TransientError):
        ServiceTokens(client(NOBODY)).check()


def test_a_service_without_a_client_calls_without_a_token() -> None:
    tokens = ServiceTokens(settings(NOBODY))
    assert (tokens.get(), tokens.at_hand()) == ("", "")
    tokens.check()


@pytest.mark.parametrize("lacking", ["client_secret", "identity_target"])
def test_a_client_that_lacks_something_is_refused(lacking: str) -> None:
    told = settings(NOBODY, client_id="order", client_secret=SecretStr("x"))
    empty = SecretStr("") if lacking == "client_secret" else ""
    with pytest.raises(StartRefused, match="TRACKOPS_CLIENT_ID needs"):
        ServiceTokens(told.model_copy(update={lacking: empty}))


def client(identity: FakeIdentity | str) -> ServiceSettings:
    target = identity if isinstance(identity, str) else identity.target
    return settings(target, client_id="order", client_secret=SecretStr("a secret"))


def test_what_tests_are_given_admits_their_own_tokens_only() -> None:
    verifier = access_for_tests().verifier
    assert verifier.verify(access_token("support", subject="ada")).roles == {"support"}
    with pytest.raises(TokenRejected):
        verifier.verify(access_token(key=SigningKey()))
