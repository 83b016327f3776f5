"""What the domain decides by itself: passwords, throttles, sessions, keys, clients."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import cast
from uuid import uuid4

import argon2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackops_common.grpc.endpoints import Context
from trackops_identity.adapters.passwords import Argon2Hasher, common_passwords
from trackops_identity.domain.addresses import neighbourhood
from trackops_identity.domain.errors import PasswordRefused, TokenInvalid, TooManyAttempts
from trackops_identity.domain.passwords import PasswordPolicy, normalised
from trackops_identity.domain.roles import Role
from trackops_identity.domain.service_client import ServiceClient
from trackops_identity.domain.session import EndReason, Session, SessionLimits
from trackops_identity.domain.signing_keys import KeyRing, KeySchedule, SigningKey
from trackops_identity.domain.throttle import Throttle, ThrottlePolicy
from trackops_identity.domain.user import email_key
from trackops_identity.entrypoints.addresses import ClientAddresses

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = PasswordPolicy(common_passwords(), min_length=15)
LIMITS = SessionLimits(idle=timedelta(days=30), absolute=timedelta(days=100))


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "fünfzehn Zeichen", "               x", "1 password, chosen by me"],
)
def test_a_long_password_of_any_kind_is_good(password: str) -> None:
    POLICY.check(password, email="ada@example.com")


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("short", "fewer than 15"),
        ("x" * 257, "more than 256"),
        ("aaaaaaaaaaaaaaaa", "tried first"),
        ("passwordpasswordpassword", "tried first"),
        ("ada.lovelace.1815@example.com!!", "address"),
        ("ada.lovelace.1815!!!", "address"),
    ],
)
def test_a_password_that_is_guessed_early_is_refused(password: str, problem: str) -> None:
    with pytest.raises(PasswordRefused, match=problem):
        POLICY.check(password, email="Ada.Lovelace.1815@example.com")


def test_a_common_password_is_refused_whatever_its_case() -> None:
    common = PasswordPolicy(common_passwords(), min_length=4)
    with pytest.raises(PasswordRefused, match="tried first"):
        common.check("QwertyUiop", email="ada@example.com")


def test_spellings_of_one_password_are_one() -> None:
    hasher = Argon2Hasher(time_cost=1, memory_kibibytes=8, parallelism=1)
    composed, decomposed = "caf\u00e9 au lait s'il vous", "cafe\u0301 au lait s'il vous"
    assert composed != decomposed
    assert hasher.fits(normalised(decomposed), hasher.hash(normalised(composed)))


def test_no_password_fits_an_empty_hash() -> None:
    hasher = Argon2Hasher(time_cost=1, memory_kibibytes=8, parallelism=1)
    assert not hasher.fits("the password of nobody", "")
    assert not hasher.fits("anything", "not a hash")


def test_a_hash_with_other_parameters_is_outdated() -> None:
    weak = Argon2Hasher(time_cost=1, memory_kibibytes=8, parallelism=1)
    strong = Argon2Hasher(time_cost=2, memory_kibibytes=16, parallelism=1)
    assert strong.is_outdated(weak.hash("a"))
    assert not strong.is_outdated(strong.hash("a"))


def test_spellings_of_one_address_are_one_account() -> None:
    assert email_key(" Ada@Example.COM") == email_key("ada@example.com")


def test_each_failure_beyond_the_free_ones_doubles_the_delay() -> None:
    policy = ThrottlePolicy(
        free_attempts=2, first_delay=timedelta(seconds=1), max_delay=timedelta(seconds=5)
    )
    throttle, now, waits = Throttle("account:ada"), NOW, []
    for _ in range(7):
        throttle.attempt(policy, now)
        wait = policy.delay(throttle.failures)
        waits.append(wait.total_seconds())
        now += wait
    assert waits == [0, 0, 1, 2, 4, 5, 5]


def test_an_attempt_too_early_is_refused_and_not_counted() -> None:
    policy = ThrottlePolicy(free_attempts=0, first_delay=timedelta(seconds=8))
    throttle = Throttle("account:ada")
    throttle.attempt(policy, NOW)
    with pytest.raises(TooManyAttempts) as refused:
        throttle.attempt(policy, NOW + timedelta(seconds=3))
    assert refused.value.retry_after_seconds == 5
    assert throttle.failures == 1
    throttle.attempt(policy, NOW + timedelta(seconds=8))


def test_a_day_without_attempts_wipes_the_slate() -> None:
    policy = ThrottlePolicy(free_attempts=1)
    throttle = Throttle("account:ada", failures=50, last_attempt=NOW)
    throttle.attempt(policy, NOW + timedelta(hours=24))
    assert throttle.failures == 1


def session() -> Session:
    return Session.start(uuid4(), uuid4(), device="phone", address="::1", now=NOW, limits=LIMITS)


def test_a_session_goes_on_with_each_refresh_until_its_absolute_end() -> None:
    one, now = session(), NOW
    for counter in range(1, 5):
        now += timedelta(days=29)
        if counter < 4:
            one.refresh(counter, now=now, limits=LIMITS)
    assert one.expire_time == NOW + timedelta(days=100)
    with pytest.raises(TokenInvalid):
        one.refresh(4, now=now, limits=LIMITS)


@given(st.lists(st.sampled_from(["refresh", "reuse", "ahead", "end"]), max_size=8))
def test_only_the_newest_token_of_a_session_that_goes_on_is_good(steps: list[str]) -> None:
    one, ended, good = session(), False, 1
    for step in steps:
        counter = {"refresh": good, "reuse": good - 1, "ahead": good + 1, "end": 0}[step]
        if step == "end":
            assert one.end(EndReason.REVOKED, NOW) is not ended
            ended = True
        elif ended or counter != good:
            with pytest.raises(TokenInvalid):
                one.refresh(counter, now=NOW, limits=LIMITS)
            ended = True
        else:
            one.refresh(counter, now=NOW, limits=LIMITS)
            good += 1
        assert one.goes_on(NOW) is not ended


SCHEDULE = KeySchedule(
    signs_for=timedelta(days=30),
    announced_for=timedelta(hours=1),
    token_lifetime=timedelta(minutes=11),
)


def key(name: str, sign_time: datetime) -> SigningKey:
    return SigningKey(name, b"", b"", sign_time)


def test_a_key_is_published_before_it_signs_and_until_its_last_token_ends() -> None:
    rotation = NOW + timedelta(days=30)
    ring = KeyRing([key("old", NOW), key("new", rotation)], SCHEDULE)

    def state(moment: datetime) -> tuple[str, list[str]]:
        signing = ring.signing(moment)
        assert signing is not None
        return signing.key_id, [one.key_id for one in ring.published(moment)]

    assert state(rotation - timedelta(seconds=1)) == ("old", ["old", "new"])
    assert state(rotation) == ("new", ["old", "new"])
    assert state(rotation + timedelta(minutes=11)) == ("new", ["new"])


def test_the_first_key_signs_at_once_and_the_next_is_made_in_time() -> None:
    assert KeyRing([], SCHEDULE).is_due(NOW)
    assert KeyRing([], SCHEDULE).next_sign_time(NOW) == NOW
    ring = KeyRing([key("first", NOW)], SCHEDULE)
    due = NOW + timedelta(days=30) - timedelta(hours=1)
    assert [ring.is_due(due - timedelta(seconds=1)), ring.is_due(due)] == [False, True]
    assert ring.next_sign_time(due) == NOW + timedelta(days=30)


def test_a_replaced_secret_is_good_for_the_overlap_alone() -> None:
    overlap = timedelta(hours=1)
    client = ServiceClient.make("order", roles=[Role.SERVICE], secret="first", now=NOW)
    client.replace_secret("second", roles=[Role.SERVICE], now=NOW)

    def knows(secret: str, minutes: int) -> bool:
        return client.knows(secret, overlap=overlap, now=NOW + timedelta(minutes=minutes))

    assert [knows("first", 59), knows("first", 60)] == [True, False]
    assert [knows("second", 0), knows("second", 10_000)] == [True, True]
    assert not knows("", 0)


def test_an_unknown_account_costs_the_same_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = Argon2Hasher(time_cost=1, memory_kibibytes=16, parallelism=1)
    standing = hasher.hash("the right password")
    verify, costs = argon2.PasswordHasher.verify, []

    def recording(self: argon2.PasswordHasher, known: str, password: str) -> bool:
        costs.append(argon2.extract_parameters(known))
        return verify(self, known, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", recording)
    assert not hasher.fits("a wrong password", standing)
    assert not hasher.fits("a wrong password", "")
    assert not hasher.fits("the password of nobody", "")
    assert costs == [argon2.extract_parameters(standing)] * 3


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_caller_does_not_get_an_allowance_for_each_of_its_addresses(
    address: str, counted: str
) -> None:
    assert neighbourhood(address) == counted


class Call:
    """What is asked of a call."""

    def __init__(self, peer: str, *forwarded: str) -> None:
        self._peer = peer
        self._forwarded = forwarded

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return [("x-forwarded-for", one) for one in self._forwarded]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("ipv4:10.0.0.1:5", [], "10.0.0.1"),
        ("ipv4:10.0.0.1:5", ["203.0.113.9"], "203.0.113.9"),
        ("ipv4:10.0.0.1:5", ["1.1.1.1, 203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        ("ipv4:10.0.0.1:5", ["1.1.1.1, nonsense"], "10.0.0.1"),
        ("ipv4:10.0.0.1:5", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("ipv4:192.0.2.1:5", ["203.0.113.9"], "192.0.2.1"),
        ("ipv6:%5B::1%5D:5", ["2001:db8::7"], "2001:db8::7"),
        ("ipv6:[::ffff:10.0.0.1]:5", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("ipv6:[2001:db8::1]:5", ["203.0.113.9"], "2001:db8::1"),
        ("unix:/tmp/socket", ["203.0.113.9"], ""),
    ],
)
def test_an_address_is_what_the_last_trusted_proxy_saw(
    peer: str, forwarded: list[str], address: str
) -> None:
    addresses = ClientAddresses([ip_network("10.0.0.0/8"), ip_network("::1")])
    assert addresses.of(cast("Context", Call(peer, *forwarded))) == address
