"""Go on with a session, or end it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from trackops_common.clock import Clock
from trackops_identity.application.ports import IdentityReader, SessionEnds, UnitOfWorkFactory
from trackops_identity.application.refresh_tokens import RefreshTokens
from trackops_identity.application.sessions import GrantedSession, SessionTokens, end_sessions
from trackops_identity.domain.errors import TokenInvalid, UserNotFound
from trackops_identity.domain.events import SessionsRevoked
from trackops_identity.domain.session import EndReason, Session, SessionLimits
from trackops_identity.domain.user import User

__all__ = ["ListSessions", "Logouts", "RefreshSessions", "RevokeSessions", "RevokeSessionsOfUsers"]


@dataclass(frozen=True)
class RefreshSessions:
    """A refresh token is good once; the roles in the new tokens are those of now."""

    unit_of_work: UnitOfWorkFactory
    ends: SessionEnds
    """Asked first: a caller who tries a dead token again and again locks nothing."""
    refresh_tokens: RefreshTokens
    tokens: SessionTokens
    limits: SessionLimits
    clock: Clock
    access_lifetime: timedelta

    def __call__(self, token: str) -> GrantedSession:
        """The session with new tokens.

        Raises:
            TokenInvalid: not a token of ours, or its session has ended, maybe just now
                because this token is an old one.
        """
        session_id, counter = self.refresh_tokens.open(token)
        if self.ends.has_ended(session_id):
            raise TokenInvalid
        now = self.clock.now()
        reader = self.tokens.reader
        with self.unit_of_work() as work:
            session = work.sessions.lock(session_id)
            user = reader.user(session.user_id) if session else None
            if session is None or user is None:
                raise TokenInvalid
            went_on = session.goes_on(now)
            try:
                session.refresh(counter, now=now, limits=self.limits)
            except TokenInvalid:
                work.sessions.save([session])
                work.commit(self._revoked(session, user) if went_on else [])
                raise
            granted = self.tokens.grant(session, user, now)
            work.sessions.save([session])
            work.commit()
        return granted

    def _revoked(self, session: Session, user: User) -> list[SessionsRevoked]:
        now = self.clock.now()
        return [SessionsRevoked(user, [session.session_id], now + self.access_lifetime, now)]


@dataclass(frozen=True)
class Logouts:
    """Ends the session of a refresh token, however old the token."""

    unit_of_work: UnitOfWorkFactory
    ends: SessionEnds
    refresh_tokens: RefreshTokens
    reader: IdentityReader
    clock: Clock
    access_lifetime: timedelta

    def __call__(self, token: str) -> None:
        """Raises TokenInvalid where we never issued the token."""
        session_id, _ = self.refresh_tokens.open(token)
        if self.ends.has_ended(session_id):
            return
        with self.unit_of_work() as work:
            session = work.sessions.lock(session_id)
            user = self.reader.user(session.user_id) if session else None
            if session is None or user is None:
                return
            events = end_sessions(
                work,
                user,
                [session],
                EndReason.LOGGED_OUT,
                now=self.clock.now(),
                access_lifetime=self.access_lifetime,
            )
            work.commit(events)


@dataclass(frozen=True, slots=True)
class RevokeSessions:
    """End sessions of one person: these, or all where none is named."""

    user_id: UUID
    session_ids: frozenset[UUID] = frozenset()


@dataclass(frozen=True)
class RevokeSessionsOfUsers:
    """Leaves alone what has ended, and what is another person's."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    access_lifetime: timedelta

    def __call__(self, command: RevokeSessions) -> Sequence[UUID]:
        """The ids of the sessions that ended with this call.

        Raises:
            UserNotFound: no account has this id.
        """
        now = self.clock.now()
        with self.unit_of_work() as work:
            user = work.users.lock(command.user_id)
            if user is None:
                raise UserNotFound(command.user_id)
            going_on = work.sessions.lock_going_on(command.user_id, now)
            wanted = command.session_ids
            chosen = [one for one in going_on if not wanted or one.session_id in wanted]
            events = end_sessions(
                work,
                user,
                chosen,
                EndReason.REVOKED,
                now=now,
                access_lifetime=self.access_lifetime,
            )
            work.commit(events)
        return [session.session_id for session in chosen]


@dataclass(frozen=True)
class ListSessions:
    """Shows where a person is logged in."""

    reader: IdentityReader
    clock: Clock

    def __call__(self, user_id: UUID) -> Sequence[Session]:
        """The sessions that go on, newest first."""
        return self.reader.sessions(user_id, self.clock.now())
