"""Accounts, sessions, throttles, clients and keys in Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from trackops_common import arrays
from trackops_common.database import Database, Transaction
from trackops_identity.adapters.encoding import IdentityTopics, outbox_event
from trackops_identity.domain.events import IdentityEvent
from trackops_identity.domain.roles import Role
from trackops_identity.domain.service_client import ServiceClient
from trackops_identity.domain.session import EndReason, Session
from trackops_identity.domain.signing_keys import SigningKey
from trackops_identity.domain.throttle import Throttle
from trackops_identity.domain.user import User, email_key

__all__ = ["PostgresIdentityReader", "PostgresUnitOfWork", "PostgresUnitOfWorkFactory"]

_USER = """
SELECT user_id, email, password_hash, roles, email_verified, version, create_time, update_time,
       password_must_change
  FROM users
"""

_INSERT_USER = """
INSERT INTO users (user_id, email, email_key, password_hash, roles, email_verified, version,
                   create_time, update_time, password_must_change)
VALUES (%(user_id)s, %(email)s, %(email_key)s, %(password_hash)s, %(roles)s::text[],
        %(email_verified)s, %(version)s, %(create_time)s, %(update_time)s,
        %(password_must_change)s)
    ON CONFLICT DO NOTHING
RETURNING user_id
"""

_SAVE_USER = """
UPDATE users
   SET password_hash = %(password_hash)s, roles = %(roles)s::text[],
       email_verified = %(email_verified)s, version = %(version)s, update_time = %(update_time)s,
       password_must_change = %(password_must_change)s
 WHERE user_id = %(user_id)s
"""

_SESSION = """
SELECT session_id, user_id, device, address, counter, create_time, use_time, expire_time,
       end_time, end_reason
  FROM sessions
"""

_GOING_ON = "user_id = %(user_id)s AND end_time IS NULL AND expire_time > %(now)s"

_INSERT_SESSION = """
INSERT INTO sessions (session_id, user_id, device, address, counter, create_time, use_time,
                      expire_time)
VALUES (%(session_id)s, %(user_id)s, %(device)s, %(address)s, %(counter)s, %(create_time)s,
        %(use_time)s, %(expire_time)s)
"""

_SAVE_SESSION = """
UPDATE sessions
   SET counter = %(counter)s, use_time = %(use_time)s, expire_time = %(expire_time)s,
       end_time = %(end_time)s, end_reason = %(end_reason)s
 WHERE session_id = %(session_id)s
"""

_CLAIM_THROTTLES = """
INSERT INTO throttles (key, failures, last_attempt)
SELECT key, 0, 'epoch' FROM unnest(%(keys)s::text[]) AS new(key) ORDER BY key
    ON CONFLICT (key) DO NOTHING
"""

_LOCK_THROTTLES = """
SELECT key, failures, last_attempt FROM throttles
 WHERE key = ANY(%(keys)s::text[]) ORDER BY key FOR UPDATE
"""

_SAVE_THROTTLE = """
UPDATE throttles SET failures = %(failures)s, last_attempt = %(last_attempt)s WHERE key = %(key)s
"""

_CLIENT = """
SELECT client_id, roles, secret_hash, previous_secret_hash, create_time, secret_time
  FROM service_clients WHERE client_id = %(client_id)s
"""

_PUT_CLIENT = """
INSERT INTO service_clients (client_id, roles, secret_hash, previous_secret_hash, create_time,
                             secret_time)
VALUES (%(client_id)s, %(roles)s::text[], %(secret_hash)s, %(previous_secret_hash)s,
        %(create_time)s, %(secret_time)s)
    ON CONFLICT (client_id) DO UPDATE
   SET roles = EXCLUDED.roles, secret_hash = EXCLUDED.secret_hash,
       previous_secret_hash = EXCLUDED.previous_secret_hash, secret_time = EXCLUDED.secret_time
"""

_KEYS = """
SELECT key_id, public_key, encrypted_private_key, sign_time FROM signing_keys
 ORDER BY sign_time, key_id
"""

_INSERT_KEY = """
INSERT INTO signing_keys (key_id, public_key, encrypted_private_key, sign_time)
VALUES (%(key_id)s, %(public_key)s, %(encrypted_private_key)s, %(sign_time)s)
"""

_LOCK_ADMINS = """
SELECT user_id FROM users WHERE 'ADMIN' = ANY (roles) ORDER BY user_id FOR UPDATE
"""


class PostgresUserRepository:
    """A `UserRepository` within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, user: User) -> User | None:
        columns = {**_user_columns(user), "email_key": email_key(user.email)}
        if self._transaction.execute(_INSERT_USER, columns):
            return None
        return self.lock(user.user_id) or self.lock_by_email(user.email)

    def lock(self, user_id: UUID) -> User | None:
        return self._one("WHERE user_id = %(user_id)s FOR UPDATE", {"user_id": str(user_id)})

    def lock_by_email(self, email: str) -> User | None:
        return self._one("WHERE email_key = %(key)s FOR UPDATE", {"key": email_key(email)})

    def save(self, user: User) -> None:
        self._transaction.execute(_SAVE_USER, _user_columns(user))

    def lock_admins(self) -> Sequence[UUID]:
        return [row[0] for row in self._transaction.execute(_LOCK_ADMINS)]

    def _one(self, condition: str, bound: Mapping[str, Any]) -> User | None:
        rows = self._transaction.execute(_USER + condition, bound)
        return _user(*rows[0]) if rows else None


class PostgresSessionRepository:
    """A `SessionRepository` within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, session: Session) -> None:
        self._transaction.execute(_INSERT_SESSION, _session_columns(session))

    def lock(self, session_id: UUID) -> Session | None:
        rows = self._transaction.execute(
            f"{_SESSION} WHERE session_id = %(session_id)s FOR UPDATE",
            {"session_id": str(session_id)},
        )
        return _session(*rows[0]) if rows else None

    def lock_going_on(self, user_id: UUID, now: datetime) -> Sequence[Session]:
        rows = self._transaction.execute(
            f"{_SESSION} WHERE {_GOING_ON} ORDER BY session_id FOR UPDATE",
            {"user_id": str(user_id), "now": now},
        )
        return [_session(*row) for row in rows]

    def save(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            self._transaction.execute(_SAVE_SESSION, _session_columns(session))


class PostgresThrottleRepository:
    """A `ThrottleRepository` within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def lock(self, keys: Iterable[str]) -> Mapping[str, Throttle]:
        bound = {"keys": arrays.texts(keys)}
        self._transaction.execute(_CLAIM_THROTTLES, bound)
        return {row[0]: Throttle(*row) for row in self._transaction.execute(_LOCK_THROTTLES, bound)}

    def save(self, throttles: Iterable[Throttle]) -> None:
        for one in throttles:
            self._transaction.execute(
                _SAVE_THROTTLE,
                {"key": one.key, "failures": one.failures, "last_attempt": one.last_attempt},
            )


class PostgresClientRepository:
    """A `ClientRepository` within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def lock(self, client_id: str) -> ServiceClient | None:
        rows = self._transaction.execute(f"{_CLIENT} FOR UPDATE", {"client_id": client_id})
        return _client(*rows[0]) if rows else None

    def put(self, client: ServiceClient) -> None:
        self._transaction.execute(
            _PUT_CLIENT,
            {
                "client_id": client.client_id,
                "roles": arrays.texts(sorted(client.roles)),
                "secret_hash": client.secret_hash,
                "previous_secret_hash": client.previous_secret_hash,
                "create_time": client.create_time,
                "secret_time": client.secret_time,
            },
        )


class PostgresKeyRepository:
    """A `KeyRepository` within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def lock(self) -> Sequence[SigningKey]:
        self._transaction.execute("LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE")
        return [_key(*row) for row in self._transaction.execute(_KEYS)]

    def add(self, key: SigningKey) -> None:
        self._transaction.execute(
            _INSERT_KEY,
            {
                "key_id": key.key_id,
                "public_key": key.public_key,
                "encrypted_private_key": key.encrypted_private_key,
                "sign_time": key.sign_time,
            },
        )


class PostgresUnitOfWork:
    """One transaction on the identity service's schema."""

    def __init__(self, transaction: Transaction, topics: IdentityTopics) -> None:
        self.throttles = PostgresThrottleRepository(transaction)
        self.users = PostgresUserRepository(transaction)
        self.sessions = PostgresSessionRepository(transaction)
        self.clients = PostgresClientRepository(transaction)
        self.keys = PostgresKeyRepository(transaction)
        self._transaction = transaction
        self._topics = topics

    def commit(self, events: Sequence[IdentityEvent] = ()) -> None:
        self._transaction.commit([outbox_event(event, self._topics) for event in events])


class PostgresUnitOfWorkFactory:
    """Opens units of work on `database`; events go to `topics`."""

    def __init__(self, database: Database, topics: IdentityTopics) -> None:
        self._database = database
        self._topics = topics

    @contextmanager
    def __call__(self) -> Iterator[PostgresUnitOfWork]:
        with self._database.transaction() as transaction:
            yield PostgresUnitOfWork(transaction, self._topics)


class PostgresIdentityReader:
    """An `IdentityReader` on committed rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def user(self, user_id: UUID) -> User | None:
        rows = self._database.fetch(
            f"{_USER} WHERE user_id = %(user_id)s", {"user_id": str(user_id)}
        )
        return _user(*rows[0]) if rows else None

    def sessions(self, user_id: UUID, now: datetime) -> Sequence[Session]:
        rows = self._database.fetch(
            f"{_SESSION} WHERE {_GOING_ON} ORDER BY create_time DESC, session_id",
            {"user_id": str(user_id), "now": now},
        )
        return [_session(*row) for row in rows]

    def client(self, client_id: str) -> ServiceClient | None:
        rows = self._database.fetch(_CLIENT, {"client_id": client_id})
        return _client(*rows[0]) if rows else None

    def keys(self) -> Sequence[SigningKey]:
        return [_key(*row) for row in self._database.fetch(_KEYS)]


def _user_columns(user: User) -> dict[str, Any]:
    return {
        "user_id": str(user.user_id),
        "email": user.email,
        "password_hash": user.password_hash,
        "roles": arrays.texts(sorted(user.roles)),
        "email_verified": user.email_verified,
        "version": user.version,
        "create_time": user.create_time,
        "update_time": user.update_time,
        "password_must_change": user.password_must_change,
    }


def _user(user_id: UUID, email: str, password_hash: str, roles: Sequence[str], *rest: Any) -> User:
    return User(user_id, email, password_hash, frozenset(map(Role, roles)), *rest)


def _session_columns(session: Session) -> dict[str, Any]:
    return {
        "session_id": str(session.session_id),
        "user_id": str(session.user_id),
        "device": session.device,
        "address": session.address,
        "counter": session.counter,
        "create_time": session.create_time,
        "use_time": session.use_time,
        "expire_time": session.expire_time,
        "end_time": session.end_time,
        "end_reason": session.end_reason,
    }


def _session(*row: Any) -> Session:
    session = Session(*row)
    if session.end_reason is not None:
        session.end_reason = EndReason(session.end_reason)
    return session


def _client(
    client_id: str, roles: Sequence[str], secret_hash: Any, previous: Any, *rest: Any
) -> ServiceClient:
    return ServiceClient(
        client_id, frozenset(map(Role, roles)), bytes(secret_hash), bytes(previous), *rest
    )


def _key(key_id: str, public_key: Any, encrypted: Any, sign_time: datetime) -> SigningKey:
    return SigningKey(key_id, bytes(public_key), bytes(encrypted), sign_time)
