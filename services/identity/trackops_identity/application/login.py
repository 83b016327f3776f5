"""Start a session with a password."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from trackops_common.clock import Clock
from trackops_identity.application.attempts import PasswordAttempts
from trackops_identity.application.passwords import NewPasswords
from trackops_identity.application.ports import PasswordHasher, UnitOfWork, UnitOfWorkFactory
from trackops_identity.application.sessions import GrantedSession, SessionTokens
from trackops_identity.domain.errors import CredentialsInvalid, PasswordMustChange, PasswordRefused
from trackops_identity.domain.events import SessionsRevoked
from trackops_identity.domain.passwords import normalised
from trackops_identity.domain.session import Session, SessionLimits
from trackops_identity.domain.user import User

__all__ = ["Login", "Logins"]


@dataclass(frozen=True, slots=True)
class Login:
    """Start a session."""

    email: str
    password: str = field(repr=False)
    device: str
    address: str
    """Where the call came from."""
    new_password: str = field(default="", repr=False)
    """Empty, or the one to have from now on."""


@dataclass(frozen=True)
class Logins:
    """Each makes another session. A hash with old parameters is replaced on the way."""

    unit_of_work: UnitOfWorkFactory
    attempts: PasswordAttempts
    hasher: PasswordHasher
    new_passwords: NewPasswords
    tokens: SessionTokens
    limits: SessionLimits
    clock: Clock
    new_id: Callable[[], UUID]

    def __call__(self, command: Login) -> GrantedSession:
        """The session and its tokens; with a new password, the only session there is.

        Raises:
            CredentialsInvalid: no account has this address and this password.
            TooManyAttempts: the password was not tried.
            PasswordMustChange: the password is right; a new one is wanted beside it.
            PasswordRefused: the new password would be guessed too soon, or is the old one.
        """
        proved = self.attempts.prove(command.email, command.password, address=command.address)
        new_hash = self._new_hash(command, proved)
        now = self.clock.now()
        with self.unit_of_work() as work:
            self.attempts.settle(work, command.email, address=command.address)
            user = work.users.lock(proved.user_id)
            if user is None or user.password_hash != proved.password_hash:
                raise CredentialsInvalid
            if user.password_must_change and not command.new_password:
                work.commit()
                raise PasswordMustChange
            events = self._set_password(work, user, command, new_hash, now)
            session = Session.start(
                self.new_id(),
                user.user_id,
                device=command.device,
                address=command.address,
                now=now,
                limits=self.limits,
            )
            granted = self.tokens.grant(session, user, now)
            work.sessions.add(session)
            work.commit(events)
        return granted

    def _new_hash(self, command: Login, proved: User) -> str:
        """Empty where the hash that stands is as good as any made today, and is to stay."""
        old, new = normalised(command.password), normalised(command.new_password)
        if new:
            if new == old:
                raise PasswordRefused("is the one that is to be replaced")
            return self.new_passwords.hash(new, email=proved.email)
        return self.hasher.hash(old) if self.hasher.is_outdated(proved.password_hash) else ""

    def _set_password(
        self, work: UnitOfWork, user: User, command: Login, new_hash: str, now: datetime
    ) -> Sequence[SessionsRevoked]:
        if command.new_password:
            return self.new_passwords.replace(work, user, new_hash, now)
        if new_hash:
            user.set_password_hash(new_hash, now)
            work.users.save(user)
        return []
