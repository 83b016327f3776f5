"""Make an account, and prove its address."""

from __future__ import annotations

from dataclasses import dataclass, field

from trackops_common.clock import Clock
from trackops_common.errors import RequestIdReused
from trackops_common.idempotency import request_key
from trackops_identity.application.letter_tokens import LetterTokens
from trackops_identity.application.ports import PasswordHasher, UnitOfWorkFactory
from trackops_identity.domain.errors import EmailTaken, TokenInvalid
from trackops_identity.domain.events import LetterKind, UserRegistered
from trackops_identity.domain.passwords import PasswordPolicy, normalised
from trackops_identity.domain.user import User, email_key

__all__ = ["RegisterUser", "RegisterUsers", "VerifyEmails"]


@dataclass(frozen=True, slots=True)
class RegisterUser:
    """Make an account."""

    principal: str
    request_id: str
    email: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class RegisterUsers:
    """The account's id is made of the request's, so a repeat finds the account it made.

    No hash of the request is kept: it would be one of the password too.
    """

    unit_of_work: UnitOfWorkFactory
    policy: PasswordPolicy
    hasher: PasswordHasher
    letters: LetterTokens
    clock: Clock

    def __call__(self, command: RegisterUser) -> User:
        """The new account, or that of the request's first time.

        Raises:
            PasswordRefused: it would be guessed too soon.
            EmailTaken: the address has an account.
            RequestIdReused: the request made an account for another address.
        """
        password = normalised(command.password)
        self.policy.check(password, email=command.email)
        user = User.register(
            request_key(command.principal, command.request_id),
            email=command.email,
            password_hash=self.hasher.hash(password),
            now=self.clock.now(),
        )
        with self.unit_of_work() as work:
            if standing := work.users.add(user):
                return _same_request(user, standing, command)
            letter = self.letters.letter(LetterKind.VERIFY_EMAIL, user, user.create_time)
            work.commit([UserRegistered(user), letter])
        return user


@dataclass(frozen=True)
class VerifyEmails:
    """Takes the token of the letter as proof that letters arrive."""

    unit_of_work: UnitOfWorkFactory
    letters: LetterTokens
    clock: Clock

    def __call__(self, token: str) -> User:
        """The account, whose address is proved now.

        Raises:
            TokenInvalid: we never issued it, it was used, or it is too old.
        """
        now = self.clock.now()
        with self.unit_of_work() as work:
            user = work.users.lock(self.letters.user_id(token))
            if user is None:
                raise TokenInvalid
            self.letters.check(LetterKind.VERIFY_EMAIL, token, user, now)
            user.verify_email(now)
            work.users.save(user)
            work.commit()
        return user


def _same_request(user: User, standing: User, command: RegisterUser) -> User:
    if standing.user_id != user.user_id:
        raise EmailTaken
    if email_key(standing.email) != email_key(user.email):
        raise RequestIdReused(command.request_id)
    return standing
