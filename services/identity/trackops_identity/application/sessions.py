"""What log-in and refresh have alike: a session, and the tokens for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from trackops_identity.application.ports import (
    AccessToken,
    AccessTokenSigner,
    IdentityReader,
    UnitOfWork,
)
from trackops_identity.application.refresh_tokens import RefreshTokens
from trackops_identity.domain.events import SessionsRevoked
from trackops_identity.domain.session import EndReason, Session
from trackops_identity.domain.signing_keys import KeyRing, KeySchedule, SigningKey
from trackops_identity.domain.user import User

__all__ = ["GrantedSession", "NoSigningKey", "SessionTokens", "end_sessions"]


class NoSigningKey(Exception):
    """No key signs yet; start-up makes the first one."""


@dataclass(frozen=True, slots=True)
class GrantedSession:
    """A session and the tokens that it goes on with."""

    session: Session
    access: AccessToken
    refresh_token: str = field(repr=False)


@dataclass(frozen=True)
class SessionTokens:
    """Signs with the newest key whose time has come."""

    reader: IdentityReader
    signer: AccessTokenSigner
    refresh_tokens: RefreshTokens
    schedule: KeySchedule

    def signing_key(self, now: datetime) -> SigningKey:
        """Raises NoSigningKey."""
        key = KeyRing(self.reader.keys(), self.schedule).signing(now)
        if key is None:
            raise NoSigningKey
        return key

    def grant(self, session: Session, user: User, now: datetime) -> GrantedSession:
        """Tokens for a session as it stands."""
        access = self.signer.sign(
            self.signing_key(now),
            subject=str(user.user_id),
            roles=user.roles,
            session_id=session.session_id,
        )
        return GrantedSession(session, access, self.refresh_tokens.issue(session))


def end_sessions(
    work: UnitOfWork,
    user: User,
    sessions: Sequence[Session],
    reason: EndReason,
    *,
    now: datetime,
    access_lifetime: timedelta,
) -> Sequence[SessionsRevoked]:
    """End those that go on, and the fact that tells every service; none where none did."""
    ended = [session for session in sessions if session.end(reason, now)]
    if not ended:
        return []
    work.sessions.save(ended)
    return [SessionsRevoked(user, [s.session_id for s in ended], now + access_lifetime, now)]
