from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy.exc import ProgrammingError

from trackops_cli.local.provision import connect
from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import wait_for
from trackops_common.database import Database, NotMigrated, SchemaTooOld
from trackops_common.errors import BatchRefused, DependencyUnavailable, TransientError

INSERT = "INSERT INTO things VALUES (%(id)s, %(name)s)"


def _ids(schema: Database) -> list[int]:
    return [row[0] for row in schema.fetch("SELECT id FROM things ORDER BY id")]


def test_what_is_not_committed_is_rolled_back(schema: Database) -> None:
    with schema.transaction() as transaction:
        transaction.execute(INSERT, {"id": 1, "name": "a"})

    assert _ids(schema) == []


def test_an_error_of_the_caller_rolls_back_and_passes_through_as_it_is(schema: Database) -> None:
    with pytest.raises(LookupError), schema.transaction() as transaction:
        transaction.execute(INSERT, {"id": 1, "name": "a"})
        raise LookupError

    assert _ids(schema) == []


def test_what_is_committed_is_seen_by_others_at_once(schema: Database) -> None:
    with schema.transaction() as transaction:
        transaction.execute(INSERT, {"id": 1, "name": "a"})
        assert _ids(schema) == []
        transaction.commit()
        assert _ids(schema) == [1]


def test_a_connection_comes_back_to_the_pool_without_a_transaction(schema_url: str) -> None:
    with closing(Database(schema_url, application_name="one", pool_size=1)) as single:
        with single.transaction() as transaction:
            transaction.execute("SELECT 1")
        assert single.fetch("SELECT now() = statement_timestamp()")[0][0] is True


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        (INSERT, {"id": 1, "name": "again"}),
        (INSERT, {"id": 2, "name": None}),
        (INSERT, {"id": 2**40, "name": "a"}),
        ("SELECT %(text)s::uuid", {"text": "no uuid"}),
    ],
    ids=["a unique violation", "a null", "an overflow", "a malformed value"],
)
def test_data_that_cannot_be_stored_refuses_the_batch(
    schema: Database, sql: str, parameters: dict[str, object]
) -> None:
    schema.execute(INSERT, {"id": 1, "name": "a"})

    with pytest.raises(BatchRefused), schema.transaction() as transaction:
        transaction.execute(sql, parameters)

    assert _ids(schema) == [1]


def test_a_defect_in_the_sql_is_neither_transient_nor_the_datas_fault(schema: Database) -> None:
    with pytest.raises(ProgrammingError), schema.transaction() as transaction:
        transaction.execute("SELECT * FROM nothing_of_this_name")


def test_of_a_deadlock_one_is_transient_and_the_other_goes_on(schema: Database) -> None:
    schema.execute("INSERT INTO things VALUES (1, ''), (2, '')")
    both_hold_one = threading.Barrier(2, timeout=10)

    def lock(first: int, second: int) -> str:
        try:
            with schema.transaction() as transaction:
                update = "UPDATE things SET name = name || 'x' WHERE id = %(id)s"
                transaction.execute(update, {"id": first})
                both_hold_one.wait()
                transaction.execute(update, {"id": second})
                transaction.commit()
        except TransientError:
            return "transient"
        return "committed"

    with ThreadPoolExecutor(2) as threads:
        outcomes = threads.map(lock, [1, 2], [2, 1])

    assert sorted(outcomes) == ["committed", "transient"]
    assert [row[0] for row in schema.fetch("SELECT name FROM things")] == ["x", "x"]


def test_a_lock_that_does_not_come_in_time_is_transient(schema: Database) -> None:
    schema.execute(INSERT, {"id": 1, "name": "a"})
    with schema.transaction() as holder:
        holder.execute("SELECT FROM things FOR UPDATE")
        with pytest.raises(TransientError), schema.transaction() as other:
            other.execute("SET LOCAL lock_timeout = '20ms'")
            other.execute("SELECT FROM things FOR UPDATE")


def _kill_backend(database: FreshDatabase, pid: int) -> None:
    with connect(database.admin_url) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        assert cursor.fetchone() == (True,)


def test_a_killed_connection_is_transient_and_the_pool_recovers(
    schema: Database, database: FreshDatabase
) -> None:
    with pytest.raises(TransientError), schema.transaction() as transaction:
        transaction.execute(INSERT, {"id": 1, "name": "a"})
        _kill_backend(database, transaction.execute("SELECT pg_backend_pid()")[0][0])
        transaction.commit()

    assert _ids(schema) == []
    with schema.transaction() as transaction:
        transaction.execute(INSERT, {"id": 2, "name": "a"})
        transaction.commit()
    assert _ids(schema) == [2]


def test_a_connection_killed_in_the_pool_costs_one_transient_error(
    schema_url: str, database: FreshDatabase
) -> None:
    with closing(Database(schema_url, application_name="one", pool_size=1)) as single:
        _kill_backend(database, single.fetch("SELECT pg_backend_pid()")[0][0])

        with pytest.raises(TransientError):
            single.fetch("SELECT 1")
        assert single.fetch("SELECT 1")[0][0] == 1


def test_a_transaction_that_idled_too_long_is_transient(
    schema: Database, database: FreshDatabase
) -> None:
    with pytest.raises(TransientError), schema.transaction() as transaction:
        transaction.execute("SET LOCAL idle_in_transaction_session_timeout = '10ms'")
        pid = transaction.execute("SELECT pg_backend_pid()")[0][0]
        wait_for(lambda: not _is_alive(database, pid), what="the server's end of the session")
        transaction.execute("SELECT 1")


def _is_alive(database: FreshDatabase, pid: int) -> bool:
    with connect(database.admin_url) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,))
        return cursor.fetchone() is not None


def test_a_pool_without_a_free_connection_is_transient(schema_url: str) -> None:
    tight = Database(schema_url, application_name="one", pool_size=1, pool_timeout_seconds=0.05)
    with closing(tight), tight.transaction(), pytest.raises(TransientError, match="pool"):
        tight.fetch("SELECT 1")


@pytest.mark.parametrize(
    "use",
    [
        lambda database: database.fetch("SELECT 1"),
        lambda database: database.execute("SELECT 1"),
        lambda database: database.transaction().__enter__(),
    ],
    ids=["fetch", "execute", "transaction"],
)
def test_a_server_that_is_away_is_transient(use: Callable[[Database], object]) -> None:
    with closing(Database("postgresql://a:b@127.0.0.1:1/c", application_name="x")) as away:
        with pytest.raises(TransientError):
            use(away)
        with pytest.raises(DependencyUnavailable, match="Postgres"):
            away.check()


def test_a_schema_without_its_tables_says_what_to_do(schema: Database) -> None:
    schema.check()

    schema.execute("DROP TABLE alembic_version")

    with pytest.raises(NotMigrated, match=r"trackops_order.*trackops up"):
        schema.check()


def test_a_schema_older_than_needed_says_what_to_do(schema: Database, schema_url: str) -> None:
    (found,) = schema.fetch("SELECT version_num FROM alembic_version")[0]

    for needed in ("", "0001", found):
        with closing(Database(schema_url, application_name="x", needed_revision=needed)) as made:
            made.check()

    says = f"trackops_order.*{found}.*9999.*migrate it first"
    newer = Database(schema_url, application_name="x", needed_revision="9999")
    with closing(newer), pytest.raises(SchemaTooOld, match=says):
        newer.check()


def test_a_session_is_utc_and_bounded(schema: Database) -> None:
    settings = ("timezone", "lock_timeout", "statement_timeout", "synchronous_commit")

    shown = [schema.fetch(f"SHOW {name}")[0][0] for name in settings]

    assert shown == ["UTC", "5s", "30s", "on"]
