"""Start a session with a password."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from trackops_common.clock import Clock
from trackops_identity.application.attempts import PasswordAttempts
from trackops_identity.application.ports import PasswordHasher, UnitOfWorkFactory
from trackops_identity.application.sessions import GrantedSession, SessionTokens
from trackops_identity.domain.errors import CredentialsInvalid
from trackops_identity.domain.passwords import normalised
from trackops_identity.domain.session import Session, SessionLimits

__all__ = ["Login", "Logins"]


@dataclass(frozen=True, slots=True)
class Login:
    """Start a session."""

    email: str
    password: str = field(repr=False)
    device: str
    address: str
    """Where the call came from."""


@dataclass(frozen=True)
class Logins:
    """Each makes another session. A hash with old parameters is replaced on the way."""

    unit_of_work: UnitOfWorkFactory
    attempts: PasswordAttempts
    hasher: PasswordHasher
    tokens: SessionTokens
    limits: SessionLimits
    clock: Clock
    new_id: Callable[[], UUID]

    def __call__(self, command: Login) -> GrantedSession:
        """The session and its tokens.

        Raises:
            CredentialsInvalid: no account has this address and this password.
            TooManyAttempts: the password was not tried.
        """
        proved = self.attempts.prove(command.email, command.password, address=command.address)
        new_hash = self._new_hash(command.password, proved.password_hash)
        now = self.clock.now()
        with self.unit_of_work() as work:
            self.attempts.settle(work, command.email, address=command.address)
            user = work.users.lock(proved.user_id)
            if user is None or user.password_hash != proved.password_hash:
                raise CredentialsInvalid
            if new_hash:
                user.set_password_hash(new_hash, now)
                work.users.save(user)
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
            work.commit()
        return granted

    def _new_hash(self, password: str, standing: str) -> str:
        """Empty where the hash that stands is as good as any made today."""
        return self.hasher.hash(normalised(password)) if self.hasher.is_outdated(standing) else ""
