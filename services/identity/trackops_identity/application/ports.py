"""What the use cases need of the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from trackops_identity.domain.events import IdentityEvent
from trackops_identity.domain.roles import Role
from trackops_identity.domain.service_client import ServiceClient
from trackops_identity.domain.session import Session
from trackops_identity.domain.signing_keys import SigningKey
from trackops_identity.domain.throttle import Throttle
from trackops_identity.domain.user import User

__all__ = [
    "AccessToken",
    "AccessTokenSigner",
    "ClientRepository",
    "IdentityReader",
    "KeyRepository",
    "PasswordHasher",
    "SecretMaker",
    "SessionEnds",
    "SessionRepository",
    "SigningKeyMaker",
    "ThrottleRepository",
    "UnitOfWork",
    "UnitOfWorkFactory",
    "UserRepository",
]


class PasswordHasher(Protocol):
    """Slow on purpose; never called within a unit of work."""

    def hash(self, password: str) -> str:
        """What is kept of a password."""
        ...

    def fits(self, password: str, password_hash: str) -> bool:
        """Whether the hash is of this password; takes as long where `password_hash` is empty."""
        ...

    def is_outdated(self, password_hash: str) -> bool:
        """Whether a hash made today would have other parameters."""
        ...


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed token and its end."""

    text: str = field(repr=False)
    expire_time: datetime


class AccessTokenSigner(Protocol):
    """Vouches for callers."""

    def sign(
        self, key: SigningKey, *, subject: str, roles: Iterable[Role], session_id: UUID | None
    ) -> AccessToken:
        """A token that is good from now on."""
        ...


class SigningKeyMaker(Protocol):
    """Makes key pairs."""

    def make(self, *, sign_time: datetime) -> SigningKey:
        """A new one, its private half encrypted."""
        ...


SecretMaker = Callable[[], str]
"""32 random bytes, as text."""


class UserRepository(Protocol):
    """The accounts, within one unit of work."""

    def add(self, user: User) -> User | None:
        """Store a new account; the one that has its id or its address already, else None."""
        ...

    def lock(self, user_id: UUID) -> User | None:
        """The account of this id, locked until the end of the unit of work."""
        ...

    def lock_by_email(self, email: str) -> User | None:
        """The account of this address, locked until the end of the unit of work."""
        ...

    def save(self, user: User) -> None:
        """Store a locked account."""
        ...

    def lock_admins(self) -> Sequence[UUID]:
        """The ids of all administrators, locked; empty where there is none."""
        ...


class SessionRepository(Protocol):
    """The sessions, within one unit of work."""

    def add(self, session: Session) -> None:
        """Store a new session."""
        ...

    def lock(self, session_id: UUID) -> Session | None:
        """The session of this id, locked until the end of the unit of work."""
        ...

    def lock_going_on(self, user_id: UUID, now: datetime) -> Sequence[Session]:
        """All sessions of a person that go on, locked."""
        ...

    def save(self, sessions: Sequence[Session]) -> None:
        """Store locked sessions."""
        ...


class ThrottleRepository(Protocol):
    """Failures by account and by address, within one unit of work."""

    def lock(self, keys: Iterable[str]) -> Mapping[str, Throttle]:
        """The throttle of each key, locked; a new one where none is stored."""
        ...

    def save(self, throttles: Iterable[Throttle]) -> None:
        """Store locked throttles."""
        ...


class ClientRepository(Protocol):
    """The programs, within one unit of work."""

    def lock(self, client_id: str) -> ServiceClient | None:
        """The client of this id, locked until the end of the unit of work."""
        ...

    def put(self, client: ServiceClient) -> None:
        """Store a new or a locked client."""
        ...


class KeyRepository(Protocol):
    """The signing keys, within one unit of work."""

    def lock(self) -> Sequence[SigningKey]:
        """All, oldest `sign_time` first; nobody else makes one until the unit of work ends."""
        ...

    def add(self, key: SigningKey) -> None:
        """Store a new key."""
        ...


class UnitOfWork(Protocol):
    """One transaction; rolled back unless committed.

    Whoever locks more than one kind does it in this order: throttles, users, sessions.
    """

    @property
    def throttles(self) -> ThrottleRepository: ...
    @property
    def users(self) -> UserRepository: ...
    @property
    def sessions(self) -> SessionRepository: ...
    @property
    def clients(self) -> ClientRepository: ...
    @property
    def keys(self) -> KeyRepository: ...

    def commit(self, events: Sequence[IdentityEvent] = ()) -> None:
        """End the unit of work; the events leave with it, in this order."""
        ...


UnitOfWorkFactory = Callable[[], AbstractContextManager[UnitOfWork]]


class SessionEnds(Protocol):
    """Knows which sessions have ended; an end is for ever."""

    def has_ended(self, session_id: UUID) -> bool:
        """Whether a committed end is known; False for a session that nobody knows."""
        ...


class IdentityReader(Protocol):
    """Reads what is committed."""

    def user(self, user_id: UUID) -> User | None:
        """The account of this id."""
        ...

    def sessions(self, user_id: UUID, now: datetime) -> Sequence[Session]:
        """The sessions of a person that go on, newest first."""
        ...

    def client(self, client_id: str) -> ServiceClient | None:
        """The client of this id."""
        ...

    def keys(self) -> Sequence[SigningKey]:
        """All signing keys, oldest `sign_time` first."""
        ...
