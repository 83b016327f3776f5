"""The account aggregate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from trackops_identity.domain.roles import Role

__all__ = ["User", "email_key"]


def email_key(email: str) -> str:
    """What is equal for two spellings of one address."""
    return email.strip().casefold()


@dataclass(slots=True)
class User:
    """A person's account."""

    user_id: UUID
    email: str
    """As typed at registration."""
    password_hash: str = field(repr=False)
    """Empty where nobody has chosen one yet: no password fits it."""
    roles: frozenset[Role]
    email_verified: bool
    version: int
    create_time: datetime
    update_time: datetime
    password_must_change: bool = False
    """Somebody else knows the password: it was handed out."""

    @classmethod
    def register(
        cls,
        user_id: UUID,
        *,
        email: str,
        password_hash: str,
        now: datetime,
        roles: Iterable[Role] = (Role.CUSTOMER,),
        password_must_change: bool = False,
    ) -> User:
        """A new account; its address is still to be proved."""
        return cls(
            user_id,
            email.strip(),
            password_hash,
            frozenset(roles),
            False,
            1,
            now,
            now,
            password_must_change,
        )

    @property
    def is_admin(self) -> bool:
        return Role.ADMIN in self.roles

    def verify_email(self, now: datetime) -> None:
        """The person has shown that letters to the address reach them."""
        self.email_verified = True
        self._changed(now)

    def change_password(self, password_hash: str, now: datetime) -> None:
        """Another password, which its owner has chosen."""
        self.password_must_change = False
        self.set_password_hash(password_hash, now)

    def set_password_hash(self, password_hash: str, now: datetime) -> None:
        """The same password, hashed with other parameters."""
        self.password_hash = password_hash
        self._changed(now)

    def set_roles(self, roles: Iterable[Role], now: datetime) -> None:
        """Other roles, which tokens carry from the next refresh on."""
        self.roles = frozenset(roles)
        self._changed(now)

    def _changed(self, now: datetime) -> None:
        self.version += 1
        self.update_time = max(now, self.update_time)
