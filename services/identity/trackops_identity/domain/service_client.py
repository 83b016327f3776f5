"""A program that calls in its own name."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from trackops_identity.domain.roles import Role

__all__ = ["ServiceClient"]


@dataclass(slots=True)
class ServiceClient:
    """Its secrets are 32 random bytes, which no guessing reaches, so a plain hash keeps them."""

    client_id: str
    roles: frozenset[Role]
    secret_hash: bytes
    previous_secret_hash: bytes
    """Good for a while after the secret was replaced; empty where there was none."""
    create_time: datetime
    secret_time: datetime

    @classmethod
    def make(
        cls, client_id: str, *, roles: Iterable[Role], secret: str, now: datetime
    ) -> ServiceClient:
        """A new client with its first secret."""
        return cls(client_id, frozenset(roles), _hash(secret), b"", now, now)

    def replace_secret(self, secret: str, *, roles: Iterable[Role], now: datetime) -> None:
        """A new secret and these roles; the old secret stays good for the overlap."""
        self.previous_secret_hash, self.secret_hash = self.secret_hash, _hash(secret)
        self.roles, self.secret_time = frozenset(roles), now

    def knows(self, secret: str, *, overlap: timedelta, now: datetime) -> bool:
        """Whether this is its secret, or the one before within `overlap`."""
        asked = _hash(secret)
        is_current = hmac.compare_digest(asked, self.secret_hash)
        is_previous = hmac.compare_digest(asked, self.previous_secret_hash)
        return is_current or (is_previous and now < self.secret_time + overlap)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
