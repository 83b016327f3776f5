"""Facts about accounts and sessions, and letters to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from trackops_identity.domain.user import User

__all__ = ["IdentityEvent", "LetterKind", "LetterRequested", "SessionsRevoked", "UserRegistered"]


class LetterKind(StrEnum):
    """What a letter's token is good for."""

    VERIFY_EMAIL = "VERIFY_EMAIL"
    RESET_PASSWORD = "RESET_PASSWORD"  # noqa: S105 - a kind of letter


@dataclass(frozen=True, slots=True)
class UserRegistered:
    """Somebody made an account."""

    user: User


@dataclass(frozen=True, slots=True)
class SessionsRevoked:
    """Sessions ended before their time; their access tokens are refused from now on."""

    user: User
    session_ids: Sequence[UUID]
    access_expire_time: datetime
    """No access token of these sessions is good after it."""
    time: datetime


@dataclass(frozen=True, slots=True)
class LetterRequested:
    """A letter to a person, with a token that is good once."""

    user: User
    kind: LetterKind
    token: str = field(repr=False)
    token_expire_time: datetime
    time: datetime


IdentityEvent = UserRegistered | SessionsRevoked | LetterRequested
