"""A program that calls in its own name."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from trackops_identity.domain.roles import Role

__all__ = ["ServiceClient", "development_clients"]


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


def development_clients(secret: str, *, now: datetime) -> Mapping[str, ServiceClient]:
    """A client for each role, `development-admin` and so on, all with this secret; none if empty.

    They stand in no table: whoever takes the setting away has taken them away.
    """
    if not secret:
        return {}
    clients = [
        ServiceClient.make(f"development-{role.lower()}", roles=[role], secret=secret, now=now)
        for role in Role
    ]
    return {client.client_id: client for client in clients}


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
