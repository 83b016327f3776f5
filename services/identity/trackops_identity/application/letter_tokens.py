"""One-time tokens for letters, without a table of them.

A token is sealed together with what it is about to change: the address to be
proved, or the password hash to be replaced. So it is used up by its own effect.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from trackops_identity.domain.errors import TokenInvalid
from trackops_identity.domain.events import LetterKind, LetterRequested
from trackops_identity.domain.user import User

__all__ = ["LetterTokens"]

_BODY = struct.Struct(">16sQ")
_LIFETIMES = {
    LetterKind.VERIFY_EMAIL: timedelta(days=3),
    LetterKind.RESET_PASSWORD: timedelta(hours=1),
}


@dataclass(frozen=True, slots=True)
class LetterTokens:
    """Seals with HMAC-SHA-256; every replica has the same `key`."""

    key: bytes
    lifetimes: Mapping[LetterKind, timedelta] = field(default_factory=lambda: _LIFETIMES)

    def letter(self, kind: LetterKind, user: User, now: datetime) -> LetterRequested:
        """A letter to `user` with a new token."""
        expire_time = (now + self.lifetimes[kind]).replace(microsecond=0)
        body = _BODY.pack(user.user_id.bytes, int(expire_time.timestamp()))
        token = base64.urlsafe_b64encode(body + self._seal(kind, body, user)).decode()
        return LetterRequested(user, kind, token, expire_time, now)

    def user_id(self, token: str) -> UUID:
        """Whose token it says it is, unchecked.

        Raises:
            TokenInvalid: it says nothing.
        """
        return UUID(bytes=_parse(token)[0][:16])

    def check(self, kind: LetterKind, token: str, user: User, now: datetime) -> None:
        """Pass a token that is good for `user` as they are now.

        Raises:
            TokenInvalid: we never issued it, it was used, or it is too old.
        """
        body, seal = _parse(token)
        if not hmac.compare_digest(seal, self._seal(kind, body, user)):
            raise TokenInvalid
        owner, expires = _BODY.unpack(body)
        if owner != user.user_id.bytes or now >= datetime.fromtimestamp(expires, UTC):
            raise TokenInvalid

    def _seal(self, kind: LetterKind, body: bytes, user: User) -> bytes:
        match kind:
            case LetterKind.VERIFY_EMAIL:
                state = f"{user.email}\n{user.email_verified}"
            case LetterKind.RESET_PASSWORD:
                state = user.password_hash
        return hmac.digest(self.key, b"\n".join((kind.encode(), body, state.encode())), "sha256")


def _parse(token: str) -> tuple[bytes, bytes]:
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise TokenInvalid from error
    if len(raw) <= _BODY.size:
        raise TokenInvalid
    return raw[: _BODY.size], raw[_BODY.size :]
