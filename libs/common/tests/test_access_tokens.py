"""Tokens are believed for the right reasons only."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from trackops_common.access_tokens import AccessTokenVerifier, KeySet, TokenRejected, UnknownKey
from trackops_common.auth import Principal
from trackops_common.testing import ManualClock

ED25519 = Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGER = Ed25519PrivateKey.generate()
KEYS: list[tuple[Any, str]] = [(ED25519, "ed"), (RSA, "rsa")]


def key_set(*keys: tuple[Any, str]) -> KeySet:
    return KeySet.parse(json.dumps({"keys": [jwk(key, key_id) for key, key_id in keys]}))


def jwk(key: Any, key_id: str) -> dict[str, Any]:
    kinds: dict[type, Any] = {
        type(ED25519): jwt.algorithms.OKPAlgorithm,
        type(RSA): jwt.algorithms.RSAAlgorithm,
    }
    kind = kinds.get(type(key), jwt.algorithms.ECAlgorithm)
    public: dict[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    return {**public, "kid": key_id, "use": "sig"}


def verifier(clock: ManualClock | None = None) -> AccessTokenVerifier:
    return AccessTokenVerifier(
        key_set(*KEYS), clock or ManualClock(), issuer="trackops", audience="trackops"
    )


def claims(**changes: Any) -> dict[str, Any]:
    now = int(ManualClock().now().timestamp())
    plain = {
        "iss": "trackops",
        "aud": "trackops",
        "sub": "5a1c",
        "iat": now,
        "exp": now + 600,
        "roles": ["customer"],
        "sid": "s1",
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


def token(key: Any = ED25519, algorithm: str = "EdDSA", **changes: Any) -> str:
    header = {"kid": changes.pop("kid", "ed"), "typ": changes.pop("typ", "at+jwt")}
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=header)


@pytest.mark.parametrize("good", [token(), token(RSA, "RS256", kid="rsa")], ids=["Ed25519", "RSA"])
def test_a_token_of_a_known_key_vouches_for_its_subject(good: str) -> None:
    principal = verifier().verify(good)
    assert principal == Principal("5a1c", roles=frozenset({"customer"}), session_id="s1")


def unsigned() -> str:
    return token(None, "none")


def signed_with_the_public_key() -> str:
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "kid": "rsa", "typ": "at+jwt"}
    body = ".".join(_part(json.dumps(one).encode()) for one in (header, claims()))
    return f"{body}.{_part(hmac.digest(public, body.encode(), 'sha256'))}"


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(unsigned(), id="alg none"),
        pytest.param(signed_with_the_public_key(), id="HS256 with the public key"),
        pytest.param(token(STRANGER), id="a stranger's key under a known id"),
        pytest.param(token(RSA, "RS512", kid="rsa"), id="another algorithm of the key"),
        pytest.param(token(RSA, "PS256", kid="rsa"), id="yet another algorithm of the key"),
        pytest.param(token(ED25519, kid="rsa"), id="a key under another one's id"),
        pytest.param(token(typ="JWT"), id="no access token"),
        pytest.param(token(aud="somebody else"), id="another audience"),
        pytest.param(token(iss="somebody else"), id="another issuer"),
        pytest.param(token(exp=None), id="without an end"),
        pytest.param(token(sub=None), id="without a subject"),
        pytest.param(token(iat=None), id="without a beginning"),
        pytest.param(token(iat=claims()["iat"] + 31), id="from the future"),
        pytest.param(token(roles="admin"), id="roles that are no list"),
        pytest.param(token(exp=1e300), id="an end beyond all time"),
        pytest.param(token(exp="tomorrow"), id="an end that is no time"),
        pytest.param("", id="empty"),
        pytest.param("a.b.c", id="three words"),
        pytest.param("é" * 100, id="not ASCII"),
    ],
)
def test_any_other_token_is_rejected(bad: str) -> None:
    with pytest.raises(TokenRejected):
        verifier().verify(bad)


def test_a_token_of_an_unknown_key_says_so() -> None:
    with pytest.raises(UnknownKey) as unknown:
        verifier().verify(token(STRANGER, kid="next"))
    assert unknown.value.key_id == "next"


@given(st.integers(0, 10_000), st.integers(1, 127))
def test_a_token_with_any_character_changed_is_rejected(place: int, change: int) -> None:
    good = token()
    place %= len(good)
    changed = good[:place] + chr((ord(good[place]) + change) % 128) + good[place + 1 :]
    if _decoded(changed) == _decoded(good):
        return
    with pytest.raises(TokenRejected):
        verifier().verify(changed)


def _decoded(text: str) -> list[bytes | str]:
    """Parts that differ in the unused bits of base64 alone are the same part."""
    parts: list[bytes | str] = []
    for part in text.split("."):
        try:
            parts.append(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        except ValueError:
            parts.append(part)
    return parts


def test_a_token_ends_on_time_also_where_it_is_remembered() -> None:
    clock = ManualClock()
    one = verifier(clock)
    good = token()
    one.verify(good)
    clock.advance(seconds=629)
    one.verify(good)
    clock.advance(seconds=1)
    with pytest.raises(TokenRejected, match="expired"):
        one.verify(good)


def test_a_revoked_sessions_tokens_are_rejected_at_once() -> None:
    clock = ManualClock()
    one = verifier(clock)
    good, other = token(), token(sid="s2")
    one.verify(good)
    one.revoke("s1", until=clock.now() + timedelta(minutes=10))
    with pytest.raises(TokenRejected, match="ended"):
        one.verify(good)
    one.verify(other)


def test_revocations_are_forgotten_once_their_tokens_have_expired() -> None:
    clock = ManualClock()
    one = verifier(clock)
    for minute in range(60):
        until = clock.now() + timedelta(minutes=10)
        for n in range(100):
            one.revoke(f"{minute}/{n}", until=until)
        clock.advance(minutes=1)
    assert not one.is_revoked("0/0")
    assert all(one.is_revoked(f"{minute}/{n}") for minute in range(50, 60) for n in range(100))


def test_a_replaced_key_is_forgotten_with_all_that_it_signed() -> None:
    one = verifier()
    good = token()
    one.verify(good)
    one.replace_keys(key_set((RSA, "rsa")))
    with pytest.raises(UnknownKey):
        one.verify(good)


def test_keys_of_other_kinds_are_left_out() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    assert key_set((ED25519, "ed"), (curve, "ec")).keys.keys() == {"ed"}
