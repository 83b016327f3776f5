"""One service's Postgres schema: connections, transactions, and the end of a transaction.

Connections stand in autocommit and transactions are opened and closed by
statements of our own, because a transaction ends with *one* string: outbox
lock, outbox rows, commit. See `trackops_common.outbox` for why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import psycopg2
from sqlalchemy import Connection, Row, create_engine, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from trackops_common import outbox
from trackops_common.errors import BatchRefused, DependencyUnavailable, StartRefused, TransientError
from trackops_common.traces.spans import Kind, Span, recorded, span

__all__ = ["Database", "NotMigrated", "PoolUse", "Rows", "SchemaTooOld", "Transaction"]

_SESSION = {
    "timezone": "UTC",
    "jit": "off",
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "10s",
}

_TRANSIENT_SQLSTATE_CLASSES = ("08", "40", "53", "55", "57")
"""Connection, rollback (deadlock, serialization), resources, locks, operator intervention."""


Rows = Sequence[Row[*tuple[Any, ...]]]


class NotMigrated(StartRefused):
    """The schema lacks its tables."""

    def __init__(self, role: str) -> None:
        super().__init__(f"the schema of role {role!r} is not migrated; run `trackops up`")


class SchemaTooOld(StartRefused):
    """The schema lacks the newest migrations of the code."""

    def __init__(self, role: str, *, found: str, needed: str) -> None:
        super().__init__(
            f"the schema of role {role!r} is at revision {found}, and this version needs {needed}: "
            "migrate it first, with `trackops up` or `python -m trackops_common.migrations`"
        )


@dataclass(frozen=True, slots=True)
class PoolUse:
    """The pool's connections at a moment."""

    size: int
    """Connections at most."""
    in_use: int
    waiting: int
    """Threads that wait for one, a connection that is being made included."""


class Transaction:
    """An open transaction; rolled back unless `commit` is called."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.committed = False
        self.statements = 0
        """Executed so far, `BEGIN` and `COMMIT` not counted."""

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Run one statement, its parameters bound as `%(name)s`; the rows it returns, if any."""
        self.statements += 1
        result = self._connection.exec_driver_sql(sql, dict(parameters or {}))
        return result.all() if result.returns_rows else ()

    def commit(self, events: Sequence[outbox.OutboxEvent] = ()) -> None:
        """End the transaction; `events` get their places in the outbox with it, in this order."""
        if events:
            self._connection.exec_driver_sql(
                outbox.INSERT_AND_COMMIT, outbox.insert_parameters(events)
            )
        else:
            self._connection.exec_driver_sql("COMMIT")
        self.committed = True


class Database:
    """A pool of connections as one service's role. Thread-safe."""

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        pool_size: int = 4,
        pool_timeout_seconds: float = 5,
        needed_revision: str = "",
    ) -> None:
        """Connects on first use. `url` is `postgresql://role:password@host:port/database`.

        `check` refuses a schema older than `needed_revision`.
        """
        options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
        self._engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg2"),
            isolation_level="AUTOCOMMIT",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout_seconds,
            pool_use_lifo=True,
            connect_args={
                "application_name": application_name,
                "connect_timeout": 5,
                "options": options,
            },
        )
        self._role = self._engine.url.username or ""
        self._needed_revision = needed_revision
        self._pool_size = pool_size
        self._waiting = 0
        self._lock = threading.Lock()
        self.on_wait: Callable[[float], None] | None = None
        """Told, in the thread that waited, how many seconds each wait for a connection took."""

    @property
    def pool(self) -> PoolUse:
        """What the pool is doing."""
        pool = cast("QueuePool", self._engine.pool)
        return PoolUse(self._pool_size, pool.checkedout(), self._waiting)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction at READ COMMITTED, rolled back unless it commits.

        Raises:
            TransientError: it may succeed if the whole of it is run again.
            BatchRefused: the data broke a constraint or a type.
        """
        with _translated_errors(), self._span("TRANSACTION") as own, self._connect() as connection:
            connection.exec_driver_sql("BEGIN")
            transaction = Transaction(connection)
            try:
                yield transaction
            finally:
                if own is not None:
                    own.attributes["db.operation.batch.size"] = transaction.statements
                if not transaction.committed:
                    _roll_back(connection)

    def fetch(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """The rows of one query, outside any transaction."""
        with _translated_errors(), self._span(sql), self._connect() as connection:
            return connection.exec_driver_sql(sql, dict(parameters or {})).all()

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run one statement that commits by itself."""
        with _translated_errors(), self._span(sql), self._connect() as connection:
            connection.exec_driver_sql(sql, dict(parameters or {}))

    def check(self) -> None:
        """Raise unless the server answers and the schema is migrated far enough.

        Raises:
            DependencyUnavailable: the server does not answer.
            NotMigrated: the tables are not there.
            SchemaTooOld: its revision is older than the needed one.
        """
        try:
            found = self._revision()
        except TransientError as error:
            raise DependencyUnavailable("Postgres") from error
        if not found:
            raise NotMigrated(self._role)
        if found < self._needed_revision:
            raise SchemaTooOld(self._role, found=found, needed=self._needed_revision)

    def _revision(self) -> str:
        """Empty before the first migration."""
        if not self.fetch("SELECT to_regclass('alembic_version') IS NOT NULL")[0][0]:
            return ""
        rows = self.fetch("SELECT version_num FROM alembic_version")
        return str(rows[0][0]) if rows else ""

    def close(self) -> None:
        """Close every connection of the pool."""
        self._engine.dispose()

    def _span(self, sql: str) -> AbstractContextManager[Span | None]:
        """What a statement, or a transaction, is in the current trace."""
        if recorded() is None:
            return span("")
        words = sql.split(maxsplit=1)
        attributes = {
            "db.system.name": "postgresql",
            "db.namespace": f"{self._engine.url.database}|{self._role}",
            "db.operation.name": words[0],
        }
        if len(words) > 1:
            attributes["db.query.text"] = sql.strip()
        return span(f"{words[0]} {self._role}", Kind.CLIENT, attributes)

    def _connect(self) -> Connection:
        began = time.perf_counter()
        with self._lock:
            self._waiting += 1
        try:
            return self._engine.connect()
        finally:
            with self._lock:
                self._waiting -= 1
            if self.on_wait is not None:
                self.on_wait(time.perf_counter() - began)


def _roll_back(connection: Connection) -> None:
    try:
        connection.exec_driver_sql("ROLLBACK")
    except SQLAlchemyError:
        connection.invalidate()


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise _translate(error) from error
    except PoolTimeoutError as error:
        raise TransientError("no connection of the pool was free in time") from error


def _translate(error: DBAPIError) -> Exception:
    sqlstate = getattr(error.orig, "pgcode", None)
    if isinstance(error, DataError | IntegrityError):
        return BatchRefused(str(error.orig).strip())
    if error.connection_invalidated or (sqlstate or "").startswith(_TRANSIENT_SQLSTATE_CLASSES):
        return TransientError(str(error.orig).strip())
    if sqlstate is None and isinstance(error.orig, psycopg2.OperationalError):
        return TransientError(str(error.orig).strip())
    return error
