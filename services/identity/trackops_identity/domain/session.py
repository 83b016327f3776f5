"""The session aggregate: one log-in of one person on one device."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from trackops_identity.domain.errors import TokenInvalid

__all__ = ["EndReason", "Session", "SessionLimits"]


class EndReason(StrEnum):
    """Why a session ended before its time."""

    LOGGED_OUT = "LOGGED_OUT"
    REVOKED = "REVOKED"
    PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105 - a reason
    REFRESH_TOKEN_REUSED = "REFRESH_TOKEN_REUSED"  # noqa: S105 - a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How long sessions go on."""

    idle: timedelta = timedelta(days=30)
    """After the last refresh."""
    absolute: timedelta = timedelta(days=180)
    """After the log-in."""


@dataclass(slots=True)
class Session:
    """Goes on until it expires or is ended; its refresh tokens are numbered."""

    session_id: UUID
    user_id: UUID
    device: str
    address: str
    counter: int
    """The number of the refresh token that is good now."""
    create_time: datetime
    use_time: datetime
    expire_time: datetime
    end_time: datetime | None = None
    end_reason: EndReason | None = None

    @classmethod
    def start(
        cls,
        session_id: UUID,
        user_id: UUID,
        *,
        device: str,
        address: str,
        now: datetime,
        limits: SessionLimits,
    ) -> Session:
        """A new session, whose first refresh token has number 1."""
        return cls(session_id, user_id, device, address, 1, now, now, now + limits.idle)

    def goes_on(self, now: datetime) -> bool:
        """Whether it has neither ended nor expired."""
        return self.end_time is None and now < self.expire_time

    def refresh(self, counter: int, *, now: datetime, limits: SessionLimits) -> None:
        """Use refresh token number `counter`, whose successor is good from now on.

        The use of an older one ends the session: either the person or a thief
        holds the newer one, and nobody can tell which.

        Raises:
            TokenInvalid: the session has ended, by this call or before; save it all the same.
        """
        if not self.goes_on(now):
            raise TokenInvalid
        if counter != self.counter:
            self.end(EndReason.REFRESH_TOKEN_REUSED, now)
            raise TokenInvalid
        self.counter += 1
        self.use_time = max(now, self.use_time)
        self.expire_time = min(now + limits.idle, self.create_time + limits.absolute)

    def end(self, reason: EndReason, now: datetime) -> bool:
        """End it; False where it had ended before."""
        if not self.goes_on(now):
            return False
        self.end_time, self.end_reason = now, reason
        return True
