"""What the identity service refuses.

IdentityError
├── CredentialsInvalid     no account or client has these credentials
├── TokenInvalid           altered, expired, used up, or of a session that has ended
├── TooManyAttempts        too many failed of late; come back in `retry_after_seconds`
├── PasswordMustChange     the password is right, was handed out, and must be replaced first
├── PasswordRefused        the password would be guessed too soon
├── EmailTaken             the address has an account
├── UserNotFound           no account has this id
└── LastAdmin              nobody would be left who can give roles
"""

from __future__ import annotations

from uuid import UUID

__all__ = [
    "CredentialsInvalid",
    "EmailTaken",
    "IdentityError",
    "LastAdmin",
    "PasswordMustChange",
    "PasswordRefused",
    "TokenInvalid",
    "TooManyAttempts",
    "UserNotFound",
]


class IdentityError(Exception):
    """Base of everything that this domain refuses."""


class CredentialsInvalid(IdentityError):
    """No account or client has these credentials; which part is wrong is not said."""

    def __init__(self) -> None:
        super().__init__("no account has these credentials")


class TokenInvalid(IdentityError):
    """The token is not good, or not any more; why is not said."""

    def __init__(self) -> None:
        super().__init__("the token is not valid; log in again")


class TooManyAttempts(IdentityError):
    """Too many attempts failed of late, so this one was not made."""

    def __init__(self, *, retry_after_seconds: float) -> None:
        super().__init__(f"too many attempts; try again in {retry_after_seconds:.0f} s")
        self.retry_after_seconds = retry_after_seconds


class PasswordMustChange(IdentityError):
    """The password is right, and good for nothing but choosing another one."""

    def __init__(self) -> None:
        super().__init__("the password was handed out; log in with a new one beside it")


class PasswordRefused(IdentityError):
    """The password would be guessed too soon; `problem` says why."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the password {problem}")
        self.problem = problem


class EmailTaken(IdentityError):
    """The address has an account."""

    def __init__(self) -> None:
        super().__init__("the address has an account")


class UserNotFound(IdentityError):
    """No account has this id."""

    def __init__(self, user_id: UUID) -> None:
        super().__init__(f"no account has id {user_id}")
        self.user_id = user_id


class LastAdmin(IdentityError):
    """The last administrator would lose the role."""

    def __init__(self) -> None:
        super().__init__(
            "the last administrator cannot lose the role; give it to another one first"
        )
