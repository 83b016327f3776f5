"""Checks the tokens that callers send (RFC 9068), without asking anybody.

The identity service signs; here stand its public keys, by key id, and the
sessions that ended before their tokens did. What a token says is believed only
if one of the keys signed it, with the algorithm that this key is for: the
token's own `alg` chooses nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt

from trackops_common.auth import Principal
from trackops_common.clock import Clock

__all__ = ["AccessTokenVerifier", "KeySet", "TokenRejected", "UnknownKey"]

_TYPE = "at+jwt"
_ALGORITHMS = {"OKP": "EdDSA", "RSA": "RS256"}
"""The one algorithm of each kind of key."""
_REQUIRED = ("exp", "iat", "iss", "aud", "sub")
_REMEMBERED = 10_000
_REVOKED = 1_000


class TokenRejected(Exception):
    """The token is not good; `why` is for the log, not for the caller."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class UnknownKey(TokenRejected):
    """No key of this id is known; a newer key set may have it."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no key has id {key_id!r}")
        self.key_id = key_id


@dataclass(frozen=True, slots=True)
class KeySet:
    """Public keys by key id."""

    keys: Mapping[str, jwt.PyJWK]

    @classmethod
    def parse(cls, text: str) -> KeySet:
        """A JSON Web Key Set (RFC 7517); keys of kinds that we do not take are left out.

        Raises:
            jwt.PyJWKSetError: it is none, or holds no key that we take.
        """
        taken = jwt.PyJWKSet.from_json(text).keys
        return cls(
            {key.key_id: key for key in taken if key.key_id and str(key.key_type) in _ALGORITHMS}
        )


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    expire_time: datetime


class AccessTokenVerifier:
    """Verifies tokens for one event loop or thread.

    A caller sends one token many times, so what was verified is remembered
    until it expires: a signature costs as much as a small query.
    """

    def __init__(
        self,
        keys: KeySet,
        clock: Clock,
        *,
        issuer: str,
        audience: str,
        leeway: timedelta = timedelta(seconds=30),
    ) -> None:
        """`leeway` is how far our clock and the issuer's may be apart."""
        self._keys = keys
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._verified: OrderedDict[str, _Verified] = OrderedDict()
        self._revoked: dict[str, datetime] = {}
        self._revoked_limit = _REVOKED
        """Above it those whose tokens have expired are looked for: not at every call."""

    def replace_keys(self, keys: KeySet) -> None:
        """Take these keys and no others; tokens of keys that are gone are refused from now on."""
        self._keys = keys
        self._verified.clear()

    def revoke(self, session_id: str, *, until: datetime) -> None:
        """Refuse the tokens of a session; none of them is good after `until`."""
        self._revoked[session_id] = until + self._leeway
        if len(self._revoked) > self._revoked_limit:
            now = self._clock.now()
            self._revoked = {one: end for one, end in self._revoked.items() if end > now}
            self._revoked_limit = max(_REVOKED, 2 * len(self._revoked))

    def is_revoked(self, session_id: str) -> bool:
        """Whether the tokens of a session are refused though they have not expired."""
        return session_id in self._revoked

    def verify(self, token: str) -> Principal:
        """Who the token vouches for.

        Raises:
            UnknownKey: a newer key set may have its key.
            TokenRejected: it is not good, for any other reason.
        """
        known = self._verified.get(token)
        if known is None:
            known = self._check(token)
            self._remember(token, known)
        if self._clock.now() >= known.expire_time + self._leeway:
            raise TokenRejected("it has expired")
        if self.is_revoked(known.principal.session_id):
            raise TokenRejected("its session has ended")
        return known.principal

    def _check(self, token: str) -> _Verified:
        key = self._key_of(token)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHMS[str(key.key_type)]],
                issuer=self._issuer,
                audience=self._audience,
                # Times are compared here, with our clock.
                options={"require": list(_REQUIRED), "verify_exp": False, "verify_iat": False},
            )
            return self._believe(claims)
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError) as error:
            raise TokenRejected(str(error)) from error

    def _key_of(self, token: str) -> jwt.PyJWK:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise TokenRejected(str(error)) from error
        if str(header.get("typ", "")).lower() != _TYPE:
            raise TokenRejected(f"its type is not {_TYPE}")
        key_id = str(header.get("kid", ""))
        key = self._keys.keys.get(key_id)
        if key is None:
            raise UnknownKey(key_id)
        return key

    def _believe(self, claims: Mapping[str, object]) -> _Verified:
        roles = claims.get("roles", [])
        if not isinstance(roles, list):
            raise TypeError("roles is no list")
        expire_time = _moment(claims["exp"])
        if _moment(claims["iat"]) > self._clock.now() + self._leeway:
            raise ValueError("it was issued in the future")
        principal = Principal(
            str(claims["sub"]),
            roles=frozenset(str(role) for role in roles),
            session_id=str(claims.get("sid", "")),
        )
        return _Verified(principal, expire_time)

    def _remember(self, token: str, verified: _Verified) -> None:
        self._verified[token] = verified
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)


def _moment(claim: object) -> datetime:
    if not isinstance(claim, int | float) or isinstance(claim, bool):
        raise TypeError("a time is no number")
    return datetime.fromtimestamp(claim, UTC)
