"""Show accounts, and give them roles."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from trackops_common.clock import Clock
from trackops_identity.application.ports import IdentityReader, UnitOfWorkFactory
from trackops_identity.domain.errors import LastAdmin, UserNotFound
from trackops_identity.domain.roles import Role
from trackops_identity.domain.user import User

__all__ = ["GetUsers", "SetUserRoles", "SetUsersRoles"]


@dataclass(frozen=True, slots=True)
class SetUserRoles:
    """Give a person these roles and no others."""

    user_id: UUID
    roles: frozenset[Role]


@dataclass(frozen=True)
class SetUsersRoles:
    """Keeps at least one administrator, also when two give up the role at once."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    def __call__(self, command: SetUserRoles) -> User:
        """The account with its new roles.

        Raises:
            UserNotFound: no account has this id.
            LastAdmin: nobody would be left who can give roles.
        """
        with self.unit_of_work() as work:
            admins = work.users.lock_admins()
            user = work.users.lock(command.user_id)
            if user is None:
                raise UserNotFound(command.user_id)
            if list(admins) == [user.user_id] and Role.ADMIN not in command.roles:
                raise LastAdmin
            user.set_roles(command.roles, self.clock.now())
            work.users.save(user)
            work.commit()
        return user


@dataclass(frozen=True)
class GetUsers:
    """Shows an account."""

    reader: IdentityReader

    def __call__(self, user_id: UUID) -> User:
        """Raises UserNotFound."""
        user = self.reader.user(user_id)
        if user is None:
            raise UserNotFound(user_id)
        return user
