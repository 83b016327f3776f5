"""What each service's role cannot do on the real server, and that it can do its own work."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from psycopg2 import errors

from trackops_cli.local.mesh import ROLES
from trackops_cli.local.provision import connect, ensure_roles
from trackops_cli.testing import Database

_RELAY = "trackops_outbox_relay"
_WRITERS = [role for role in ROLES if role != _RELAY]
_PAIRS = list(permutations(ROLES, 2))

_FORBIDDEN_EVERYWHERE = [
    "CREATE DATABASE loot",
    "CREATE ROLE accomplice",
    "ALTER ROLE {self} SUPERUSER",
    "ALTER ROLE {self} BYPASSRLS",
    "SET ROLE postgres",
    "GRANT {other} TO {self}",
    "CREATE SCHEMA loot",
    "CREATE TABLE public.loot ()",
    "CREATE TEMPORARY TABLE loot ()",
    "CREATE TABLESPACE loot LOCATION '/tmp'",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_read_file('pg_hba.conf')",
    "SELECT pg_ls_dir('.')",
    "SELECT rolpassword FROM pg_authid",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/loot'",
    "ALTER SYSTEM SET fsync = off",
    "SELECT pg_reload_conf()",
    "SET session_replication_role = replica",
]

_FORBIDDEN_IN_ANOTHER_SCHEMA = [
    "SELECT FROM {other}.alembic_version",
    "INSERT INTO {other}.alembic_version VALUES ('0')",
    "UPDATE {other}.alembic_version SET version_num = '0'",
    "DELETE FROM {other}.alembic_version",
    "TRUNCATE {other}.alembic_version",
    "CREATE TABLE {other}.loot ()",
    "ALTER TABLE {other}.alembic_version ADD loot int",
    "DROP TABLE {other}.alembic_version",
    "DROP SCHEMA {other} CASCADE",
    "ALTER SCHEMA {other} OWNER TO CURRENT_USER",
]

_FORBIDDEN_IN_AN_OUTBOX = [
    "INSERT INTO {other}.outbox (event_id, topic, key, type, aggregate_version, payload,"
    " occurred_at) VALUES (gen_random_uuid(), 't', 'k', 't', 1, '', now())",
    "UPDATE {other}.outbox SET topic = 't'",
    "DELETE FROM {other}.outbox",
    "TRUNCATE {other}.outbox",
    "DROP TABLE {other}.outbox",
    "SELECT * FROM {other}.outbox FOR UPDATE",
    "SELECT nextval('{other}.outbox_seq')",
    "BEGIN; LOCK TABLE {other}.outbox IN SHARE MODE",
    "CREATE TABLE {other}.outbox_loot PARTITION OF {other}.outbox DEFAULT",
]


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _refused(database: Database, role: str, statement: str) -> None:
    with (
        connect(database.url(role)) as connection,
        connection.cursor() as cursor,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        cursor.execute(statement)


def test_a_role_is_refused_what_belongs_to_an_administrator(database: Database, role: str) -> None:
    other = next(name for name in ROLES if name != role)
    for statement in _FORBIDDEN_EVERYWHERE:
        _refused(database, role, statement.format(self=role, other=other))


@pytest.mark.parametrize(("role", "other"), _PAIRS)
def test_a_role_is_refused_everything_in_anothers_schema(
    database: Database, role: str, other: str
) -> None:
    for statement in _FORBIDDEN_IN_ANOTHER_SCHEMA:
        _refused(database, role, statement.format(other=other))


@pytest.mark.parametrize("other", _WRITERS)
def test_the_relay_reads_an_outbox_and_cannot_change_it(database: Database, other: str) -> None:
    with connect(database.url(_RELAY)) as relay, relay.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {other}.outbox")
        assert cursor.fetchone() == (0,)

    for statement in _FORBIDDEN_IN_AN_OUTBOX:
        _refused(database, _RELAY, statement.format(other=other))


@pytest.mark.parametrize("other", _WRITERS)
def test_an_outbox_is_all_that_the_relay_may_touch_outside_its_schema(
    database: Database, other: str
) -> None:
    with connect(database.admin_url) as admin, admin.cursor() as cursor:
        cursor.execute(
            "SELECT relname, privilege_type FROM pg_class, aclexplode(relacl)"
            " WHERE relnamespace = %s::regnamespace AND grantee <> relowner",
            (other,),
        )
        assert cursor.fetchall() == [("outbox", "SELECT")]


@pytest.mark.parametrize("elsewhere", ["postgres", "template1"])
def test_a_role_is_refused_another_database(database: Database, role: str, elsewhere: str) -> None:
    url = urlsplit(database.url(role))

    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        psycopg2.connect(urlunsplit(url._replace(path=f"/{elsewhere}")))


def test_a_role_owns_its_schema_and_all_that_is_in_it(database: Database, role: str) -> None:
    with connect(database.admin_url) as admin, admin.cursor() as cursor:
        cursor.execute(
            "SELECT nspname::text FROM pg_namespace WHERE pg_get_userbyid(nspowner) = %s", (role,)
        )
        assert cursor.fetchall() == [(role,)]
        cursor.execute(
            "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class"
            " WHERE relnamespace = %s::regnamespace",
            (role,),
        )
        assert cursor.fetchall() == [(role,)]


@pytest.fixture
def spoilt_role(postgres: str) -> Iterator[str]:
    """A role that somebody gave too much."""
    with connect(postgres) as admin, admin.cursor() as cursor:
        cursor.execute("CREATE ROLE shop_porter LOGIN SUPERUSER CREATEDB CREATEROLE BYPASSRLS")
        yield "shop_porter"
        cursor.execute("DROP ROLE shop_porter")


def test_provisioning_takes_back_what_a_role_must_not_have(postgres: str, spoilt_role: str) -> None:
    with connect(postgres) as admin, admin.cursor() as cursor:
        ensure_roles(admin, {spoilt_role: "secret"})

        cursor.execute(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
            " FROM pg_roles WHERE rolname = %s",
            (spoilt_role,),
        )
        assert cursor.fetchone() == (False,)


def test_passwords_are_proved_and_kept_by_scram_alone(database: Database) -> None:
    with connect(database.admin_url) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
        assert cursor.fetchall() == [("scram-sha-256",)]
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE rolpassword LIKE 'SCRAM-SHA-256$%%')"
            " FROM pg_authid WHERE rolcanlogin AND rolname = ANY(%s)",
            (["postgres", *ROLES],),
        )
        assert cursor.fetchone() == (len(ROLES) + 1, len(ROLES) + 1)


def test_provisioning_says_no_password_to_the_servers_log(postgres: str) -> None:
    with connect(postgres) as admin, admin.cursor() as cursor:
        cursor.execute("SET log_statement = 'all'; SET client_min_messages = 'log'")
        ensure_roles(admin, {"shop_porter": "not-for-the-log"})
        cursor.execute("DROP ROLE shop_porter")

    assert any("ALTER ROLE" in notice for notice in admin.notices)
    assert not any("not-for-the-log" in notice for notice in admin.notices)
