"""One database, and in it one login role with one schema per service."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import psycopg2
from psycopg2 import extensions
from psycopg2.sql import SQL, Identifier

__all__ = ["connect", "ensure_database", "ensure_roles", "ensure_schemas", "migrate", "restrict"]

_ORDINARY_ROLE = (
    "ALTER ROLE {} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD %s"
)


@contextmanager
def connect(url: str) -> Iterator[extensions.connection]:
    """A connection in which each statement commits by itself, closed at the end."""
    connection = psycopg2.connect(url, connect_timeout=10)
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


def ensure_roles(admin: extensions.connection, passwords: Mapping[str, str]) -> None:
    """A login role for each name, with that password and no rights beyond its own schema.

    The server is told SCRAM verifiers: no password stands in a statement, nor in its log.
    """
    for role, password in passwords.items():
        name = Identifier(role)
        verifier = extensions.encrypt_password(password, role, admin, "scram-sha-256")
        with admin.cursor() as cursor:
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,))
            if cursor.fetchone() is None:
                cursor.execute(SQL("CREATE ROLE {} LOGIN").format(name))
            cursor.execute(SQL(_ORDINARY_ROLE).format(name), (verifier,))


def ensure_database(admin: extensions.connection, name: str, roles: Iterable[str]) -> None:
    """The database `name`, which only `roles` may enter; the server's own ones they may not."""
    with admin.cursor() as cursor:
        cursor.execute("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
        if cursor.fetchone() is None:
            cursor.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    restrict(admin, name, roles)


def restrict(admin: extensions.connection, database: str, roles: Iterable[str]) -> None:
    """Lets `roles` and nobody else connect, each finding its own schema first.

    Postgres copies none of this when a database is made from a template.
    """
    name = Identifier(database)
    with admin.cursor() as cursor:
        cursor.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        for role in map(Identifier, roles):
            cursor.execute(SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, role))
            cursor.execute(
                SQL("ALTER ROLE {0} IN DATABASE {1} SET search_path = {0}").format(role, name)
            )


def ensure_schemas(admin: extensions.connection, roles: Iterable[str]) -> None:
    """In the connected database: a schema per role, owned by it and closed to everybody else."""
    with admin.cursor() as cursor:
        cursor.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for role in map(Identifier, roles):
            cursor.execute(SQL("CREATE SCHEMA IF NOT EXISTS {0} AUTHORIZATION {0}").format(role))


def migrate(roles: Iterable[str], url_of: Callable[[str], str]) -> None:
    """Brings each role's schema to the newest revision of the package of the same name.

    Every role and schema must exist already: migrations grant the relay access to their outbox.
    """
    from trackops_common.migrations import upgrade

    for role in roles:
        upgrade(role, url_of(role))
