"""Refresh tokens: the session, the token's number in it, and a seal over both.

The number alone is kept, with the session. The seal tells an old token, whose
use ends the session, from a made-up one, which must not.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass
from uuid import UUID

from trackops_identity.domain.errors import TokenInvalid
from trackops_identity.domain.session import Session

__all__ = ["RefreshTokens"]

_BODY = struct.Struct(">16sI")
_PURPOSE = b"trackops refresh token"


@dataclass(frozen=True, slots=True)
class RefreshTokens:
    """Seals with HMAC-SHA-256; every replica has the same `key`."""

    key: bytes

    def issue(self, session: Session) -> str:
        """The token that `session` takes next."""
        body = _BODY.pack(session.session_id.bytes, session.counter)
        return base64.urlsafe_b64encode(body + self._seal(body)).decode()

    def open(self, token: str) -> tuple[UUID, int]:
        """Session id and number of a token.

        Raises:
            TokenInvalid: we never issued it.
        """
        try:
            raw = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise TokenInvalid from error
        body, seal = raw[: _BODY.size], raw[_BODY.size :]
        if len(body) != _BODY.size or not hmac.compare_digest(seal, self._seal(body)):
            raise TokenInvalid
        session_id, counter = _BODY.unpack(body)
        return UUID(bytes=session_id), counter

    def _seal(self, body: bytes) -> bytes:
        return hmac.digest(self.key, _PURPOSE + body, "sha256")
