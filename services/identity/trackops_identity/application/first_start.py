"""What there must be before anybody can log in: a key, and somebody who gives roles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from trackops_common.clock import Clock
from trackops_identity.application.ports import PasswordHasher, SecretMaker, UnitOfWorkFactory
from trackops_identity.application.signing_keys import RotateSigningKeys
from trackops_identity.domain.errors import EmailTaken
from trackops_identity.domain.events import UserRegistered
from trackops_identity.domain.roles import Role
from trackops_identity.domain.user import User

__all__ = ["FirstAdmin", "FirstStart"]


@dataclass(frozen=True, slots=True)
class FirstAdmin:
    """The administrator that the first start made, and the password shown this once."""

    email: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class FirstStart:
    """Does nothing where all is there; of several replicas at once, one makes the account."""

    unit_of_work: UnitOfWorkFactory
    rotate_keys: RotateSigningKeys
    hasher: PasswordHasher
    make_secret: SecretMaker
    clock: Clock
    new_id: Callable[[], UUID]

    def __call__(self, admin_email: str) -> FirstAdmin | None:
        """The new administrator, who must change the password; None if there is one.

        Raises:
            EmailTaken: the address has an account that is no administrator's.
        """
        self.rotate_keys(only_if_due=True)
        password = self.make_secret()
        admin = User.register(
            self.new_id(),
            email=admin_email,
            password_hash=self.hasher.hash(password),
            now=self.clock.now(),
            roles=[Role.ADMIN],
            password_must_change=True,
        )
        with self.unit_of_work() as work:
            if work.users.lock_admins():
                return None
            if standing := work.users.add(admin):
                if standing.is_admin:
                    return None
                raise EmailTaken
            work.commit([UserRegistered(admin)])
        return FirstAdmin(admin.email, password)
