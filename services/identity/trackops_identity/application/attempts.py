"""Passwords are tried under a throttle, one of the account and one of the address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trackops_common.clock import Clock
from trackops_identity.application.ports import PasswordHasher, UnitOfWork, UnitOfWorkFactory
from trackops_identity.domain.addresses import neighbourhood
from trackops_identity.domain.errors import CredentialsInvalid
from trackops_identity.domain.passwords import normalised
from trackops_identity.domain.throttle import ThrottlePolicy
from trackops_identity.domain.user import User, email_key

__all__ = ["PasswordAttempts", "ThrottlePolicies"]

_PER_ACCOUNT = ThrottlePolicy(free_attempts=5)
_PER_ADDRESS = ThrottlePolicy(free_attempts=50)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottlePolicies:
    """A person mistypes a few times; many people may share an address."""

    account: ThrottlePolicy = _PER_ACCOUNT
    address: ThrottlePolicy = _PER_ADDRESS


@dataclass(frozen=True)
class PasswordAttempts:
    """Tries a password against an account, whether the account exists or not.

    The attempt is counted and committed before the password is hashed, and
    taken back when it succeeds. So attempts at the same time share one
    allowance, and nothing is locked during the hashing.
    """

    unit_of_work: UnitOfWorkFactory
    hasher: PasswordHasher
    clock: Clock
    policies: ThrottlePolicies

    def prove(self, email: str, password: str, *, address: str) -> User:
        """The account whose password this is, as it stood a moment ago.

        Whoever goes on calls `settle` in the unit of work that follows.

        Raises:
            CredentialsInvalid: no account has this address and this password.
            TooManyAttempts: the password was not tried.
        """
        user = self._count(email, address)
        fits = self.hasher.fits(normalised(password), user.password_hash if user else "")
        if user is None or not fits:
            raise CredentialsInvalid
        return user

    def settle(self, work: UnitOfWork, email: str, *, address: str) -> None:
        """Forgive the account, and take back what counted against the address."""
        keys = _keys(email, address)
        throttles = work.throttles.lock(keys.values())
        throttles[keys["account"]].succeeded()
        throttles[keys["address"]].take_back()
        work.throttles.save(throttles.values())

    def _count(self, email: str, address: str) -> User | None:
        now = self.clock.now()
        keys = _keys(email, address)
        with self.unit_of_work() as work:
            throttles = work.throttles.lock(keys.values())
            throttles[keys["account"]].attempt(self.policies.account, now)
            throttles[keys["address"]].attempt(self.policies.address, now)
            user = work.users.lock_by_email(email)
            work.throttles.save(throttles.values())
            work.commit()
        return user


def _keys(email: str, address: str) -> Mapping[str, str]:
    return {
        "account": f"account:{email_key(email)}",
        "address": f"address:{neighbourhood(address)}",
    }
