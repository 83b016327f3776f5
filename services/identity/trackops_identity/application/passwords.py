"""Change a password, with the old one or with a letter's token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from trackops_common.clock import Clock
from trackops_identity.application.attempts import PasswordAttempts
from trackops_identity.application.letter_tokens import LetterTokens
from trackops_identity.application.ports import (
    IdentityReader,
    PasswordHasher,
    UnitOfWork,
    UnitOfWorkFactory,
)
from trackops_identity.application.sessions import end_sessions
from trackops_identity.domain.addresses import neighbourhood
from trackops_identity.domain.errors import CredentialsInvalid, TokenInvalid, UserNotFound
from trackops_identity.domain.events import LetterKind, SessionsRevoked
from trackops_identity.domain.passwords import PasswordPolicy, normalised
from trackops_identity.domain.session import EndReason
from trackops_identity.domain.throttle import ThrottlePolicy
from trackops_identity.domain.user import User, email_key

__all__ = [
    "ChangePassword",
    "ChangePasswords",
    "NewPasswords",
    "RequestPasswordReset",
    "RequestPasswordResets",
    "ResetPassword",
    "ResetPasswords",
]

_LETTERS_PER_ACCOUNT = ThrottlePolicy(
    free_attempts=3, first_delay=timedelta(minutes=1), max_delay=timedelta(hours=1)
)
_LETTERS_PER_ADDRESS = ThrottlePolicy(free_attempts=50)


@dataclass(frozen=True)
class NewPasswords:
    """What every change of a password does."""

    policy: PasswordPolicy
    hasher: PasswordHasher
    access_lifetime: timedelta

    def hash(self, password: str, *, email: str) -> str:
        """Raises PasswordRefused."""
        text = normalised(password)
        self.policy.check(text, email=email)
        return self.hasher.hash(text)

    def store(self, work: UnitOfWork, user: User, password_hash: str, now: datetime) -> None:
        """Give a locked account its new password, end all its sessions, and commit."""
        work.commit(self.replace(work, user, password_hash, now))

    def replace(
        self, work: UnitOfWork, user: User, password_hash: str, now: datetime
    ) -> Sequence[SessionsRevoked]:
        """`store`, for whoever has more to do in the unit of work and commits these events."""
        user.change_password(password_hash, now)
        work.users.save(user)
        return end_sessions(
            work,
            user,
            work.sessions.lock_going_on(user.user_id, now),
            EndReason.PASSWORD_CHANGED,
            now=now,
            access_lifetime=self.access_lifetime,
        )


@dataclass(frozen=True, slots=True)
class ChangePassword:
    """Change a password with the one that stands."""

    user_id: UUID
    password: str = field(repr=False)
    new_password: str = field(repr=False)
    address: str


@dataclass(frozen=True)
class ChangePasswords:
    """The password that stands is tried under the same throttle as in a log-in."""

    unit_of_work: UnitOfWorkFactory
    reader: IdentityReader
    attempts: PasswordAttempts
    new_passwords: NewPasswords
    clock: Clock

    def __call__(self, command: ChangePassword) -> None:
        """Raises UserNotFound, CredentialsInvalid, TooManyAttempts or PasswordRefused."""
        known = self.reader.user(command.user_id)
        if known is None:
            raise UserNotFound(command.user_id)
        proved = self.attempts.prove(known.email, command.password, address=command.address)
        new_hash = self.new_passwords.hash(command.new_password, email=known.email)
        with self.unit_of_work() as work:
            self.attempts.settle(work, known.email, address=command.address)
            user = work.users.lock(command.user_id)
            if user is None or user.password_hash != proved.password_hash:
                raise CredentialsInvalid
            self.new_passwords.store(work, user, new_hash, self.clock.now())


@dataclass(frozen=True, slots=True)
class RequestPasswordReset:
    """Have a letter sent."""

    email: str
    address: str


@dataclass(frozen=True)
class RequestPasswordResets:
    """Answers alike whether the address has an account or not."""

    unit_of_work: UnitOfWorkFactory
    letters: LetterTokens
    clock: Clock
    per_account: ThrottlePolicy = _LETTERS_PER_ACCOUNT
    per_address: ThrottlePolicy = _LETTERS_PER_ADDRESS

    def __call__(self, command: RequestPasswordReset) -> None:
        """Raises TooManyAttempts."""
        now = self.clock.now()
        account = f"letter:{email_key(command.email)}"
        address = f"letters:{neighbourhood(command.address)}"
        with self.unit_of_work() as work:
            throttles = work.throttles.lock([account, address])
            throttles[account].attempt(self.per_account, now)
            throttles[address].attempt(self.per_address, now)
            work.throttles.save(throttles.values())
            user = work.users.lock_by_email(command.email)
            letter = self.letters.letter(LetterKind.RESET_PASSWORD, user, now) if user else None
            work.commit([letter] if letter else [])


@dataclass(frozen=True, slots=True)
class ResetPassword:
    """Set a password with the token of a letter."""

    token: str = field(repr=False)
    new_password: str = field(repr=False)


@dataclass(frozen=True)
class ResetPasswords:
    """The token proves the address too, and is used up by the new hash."""

    unit_of_work: UnitOfWorkFactory
    reader: IdentityReader
    letters: LetterTokens
    new_passwords: NewPasswords
    clock: Clock

    def __call__(self, command: ResetPassword) -> None:
        """Raises TokenInvalid or PasswordRefused."""
        user_id = self.letters.user_id(command.token)
        known = self.reader.user(user_id)
        if known is None:
            raise TokenInvalid
        self.letters.check(LetterKind.RESET_PASSWORD, command.token, known, self.clock.now())
        new_hash = self.new_passwords.hash(command.new_password, email=known.email)
        now = self.clock.now()
        with self.unit_of_work() as work:
            user = work.users.lock(user_id)
            if user is None:
                raise TokenInvalid
            self.letters.check(LetterKind.RESET_PASSWORD, command.token, user, now)
            if not user.email_verified:
                user.verify_email(now)
            self.new_passwords.store(work, user, new_hash, now)
