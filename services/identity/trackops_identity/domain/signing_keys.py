"""Which key signs, and which ones verify, at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["KeyRing", "KeySchedule", "SigningKey"]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key pair; its private half is kept encrypted."""

    key_id: str
    public_key: bytes
    """32 bytes (RFC 8032)."""
    encrypted_private_key: bytes
    sign_time: datetime
    """From when on it signs, unless a newer one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySchedule:
    """How keys follow one another."""

    signs_for: timedelta = timedelta(days=30)
    """After this long the next key is made."""
    announced_for: timedelta = timedelta(minutes=15)
    """How long a key is published before it signs; verifiers look for new ones more often."""
    token_lifetime: timedelta = timedelta(minutes=11)
    """How long the last token of a key may still be good, the clocks' skew included."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All keys, oldest `sign_time` first."""

    keys: Sequence[SigningKey]
    schedule: KeySchedule

    def signing(self, now: datetime) -> SigningKey | None:
        """The newest key whose time has come."""
        return next((key for key in reversed(self.keys) if key.sign_time <= now), None)

    def published(self, now: datetime) -> Sequence[SigningKey]:
        """Those that verify: announced, signing, or with tokens that may still be good."""
        last = self.schedule.token_lifetime
        return [
            key
            for key, successor in zip(self.keys, [*self.keys[1:], None], strict=True)
            if successor is None or now < successor.sign_time + last
        ]

    def next_sign_time(self, now: datetime) -> datetime:
        """When a key made now would begin to sign; the very first one at once."""
        return now + self.schedule.announced_for if self.keys else now

    def is_due(self, now: datetime) -> bool:
        """Whether it is time to make the next key."""
        if not self.keys:
            return True
        newest = self.keys[-1]
        return newest.sign_time + self.schedule.signs_for - self.schedule.announced_for <= now
