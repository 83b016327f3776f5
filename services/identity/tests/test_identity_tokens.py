"""Tokens: what they say, and that nobody else can say it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackops_common.testing import ManualClock
from trackops_identity.adapters.access_tokens import Ed25519Keys, JwtSigner, KeyEncryptionChanged
from trackops_identity.application.letter_tokens import LetterTokens
from trackops_identity.application.refresh_tokens import RefreshTokens
from trackops_identity.application.signing_keys import GetKeySet
from trackops_identity.domain.errors import TokenInvalid
from trackops_identity.domain.events import LetterKind
from trackops_identity.domain.roles import Role
from trackops_identity.domain.session import Session, SessionLimits
from trackops_identity.domain.signing_keys import KeySchedule, SigningKey
from trackops_identity.domain.user import User

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REFRESH = RefreshTokens(b"a key of this test, 32 bytes or so")
LETTERS = LetterTokens(b"a key of this test, 32 bytes or so")
ENCRYPTION_KEY = "an encryption key of this test.."


def session() -> Session:
    return Session.start(uuid4(), uuid4(), device="", address="", now=NOW, limits=SessionLimits())


def user() -> User:
    return User.register(uuid4(), email="ada@example.com", password_hash="hash 1", now=NOW)


def test_a_refresh_token_names_its_session_and_its_number() -> None:
    one = session()
    assert REFRESH.open(REFRESH.issue(one)) == (one.session_id, 1)


@given(st.integers(0, 51), st.integers(1, 255))
def test_a_refresh_token_with_any_byte_changed_is_nobodys(place: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(REFRESH.issue(session())))
    assert len(raw) == 52
    raw[place] ^= change
    with pytest.raises(TokenInvalid):
        REFRESH.open(base64.urlsafe_b64encode(raw).decode())


@pytest.mark.parametrize("token", ["", "a", "é", "====", "A" * 64, "A" * 511])
def test_no_refresh_token(token: str) -> None:
    with pytest.raises(TokenInvalid):
        REFRESH.open(token)
    with pytest.raises(TokenInvalid):
        LETTERS.check(LetterKind.RESET_PASSWORD, token, user(), NOW)


def test_another_key_makes_other_tokens() -> None:
    with pytest.raises(TokenInvalid):
        RefreshTokens(b"another key").open(REFRESH.issue(session()))


def test_a_letters_token_is_good_for_its_person_its_purpose_and_its_time() -> None:
    ada, bob = user(), user()
    letter = LETTERS.letter(LetterKind.RESET_PASSWORD, ada, NOW)
    assert LETTERS.user_id(letter.token) == ada.user_id
    LETTERS.check(LetterKind.RESET_PASSWORD, letter.token, ada, NOW)
    last = letter.token_expire_time - timedelta(seconds=1)
    LETTERS.check(LetterKind.RESET_PASSWORD, letter.token, ada, last)
    for kind, person, moment in [
        (LetterKind.VERIFY_EMAIL, ada, NOW),
        (LetterKind.RESET_PASSWORD, bob, NOW),
        (LetterKind.RESET_PASSWORD, ada, letter.token_expire_time),
    ]:
        with pytest.raises(TokenInvalid):
            LETTERS.check(kind, letter.token, person, moment)


def test_a_letters_token_is_used_up_by_its_effect() -> None:
    ada = user()
    reset = LETTERS.letter(LetterKind.RESET_PASSWORD, ada, NOW).token
    verify = LETTERS.letter(LetterKind.VERIFY_EMAIL, ada, NOW).token
    ada.set_password_hash("hash 2", NOW)
    ada.verify_email(NOW)
    with pytest.raises(TokenInvalid):
        LETTERS.check(LetterKind.RESET_PASSWORD, reset, ada, NOW)
    with pytest.raises(TokenInvalid):
        LETTERS.check(LetterKind.VERIFY_EMAIL, verify, ada, NOW)


class Keys:
    """A reader of one key."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def keys(self) -> list[SigningKey]:
        return [self._key]

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is not asked for")


def test_an_access_token_is_verified_with_the_published_key() -> None:
    clock = ManualClock(NOW)
    keys = Ed25519Keys(ENCRYPTION_KEY)
    key = keys.make(sign_time=NOW)
    signer = JwtSigner(
        keys, clock, issuer="trackops", audience="trackops", lifetime=timedelta(minutes=10)
    )
    session_id = UUID(int=7)
    token = signer.sign(
        key, subject="5a1c", roles=[Role.SUPPORT, Role.CUSTOMER], session_id=session_id
    )
    key_set = jwt.PyJWKSet.from_json(GetKeySet(Keys(key), KeySchedule(), clock)())
    header = jwt.get_unverified_header(token.text)
    assert (header["alg"], header["typ"]) == ("EdDSA", "at+jwt")
    claims = jwt.decode(
        token.text,
        key_set[header["kid"]],
        algorithms=["EdDSA"],
        audience="trackops",
        issuer="trackops",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["sub"] == "5a1c"
    assert claims["roles"] == ["customer", "support"]
    assert claims["sid"] == str(session_id)
    assert claims["exp"] - claims["iat"] == 600 == (token.expire_time - NOW).total_seconds()


def test_the_key_set_holds_no_private_half() -> None:
    key = Ed25519Keys(ENCRYPTION_KEY).make(sign_time=NOW)
    (published,) = json.loads(GetKeySet(Keys(key), KeySchedule(), ManualClock(NOW))())["keys"]
    assert published.keys() == {"kty", "crv", "alg", "use", "kid", "x"}


def test_a_private_half_needs_its_encryption_key_and_its_name() -> None:
    keys = Ed25519Keys(ENCRYPTION_KEY)
    key = keys.make(sign_time=NOW)
    assert keys.private_half(key).public_key().public_bytes_raw() == key.public_key
    renamed = SigningKey("other", key.public_key, key.encrypted_private_key, NOW)
    for reader, stored in [(Ed25519Keys("another key"), key), (keys, renamed)]:
        with pytest.raises(KeyEncryptionChanged, match="TRACKOPS_KEY_ENCRYPTION_KEY"):
            reader.private_half(stored)


def test_tokens_do_not_show_up_where_things_are_printed() -> None:
    ada = user()
    letter = LETTERS.letter(LetterKind.RESET_PASSWORD, ada, NOW)
    assert letter.token not in repr(letter)
    assert "hash 1" not in repr(ada)
