"""The fixtures keep what they promise."""

import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import errors

from trackops_cli.local.home import Home
from trackops_cli.local.mesh import ROLES
from trackops_cli.local.provision import connect
from trackops_cli.testing import Database, DatabaseTemplate, leaked_secrets, wait_for

_STARTS_REDIS_AND_IS_KILLED = """
import os, signal
from trackops_cli.testing import temporary_stack
with temporary_stack() as stack:
    stack.redis.start()
    print(stack.context.home.root, stack.redis.process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_neither_process_nor_folder() -> None:
    run = subprocess.run(  # killed on purpose
        [sys.executable, "-c", _STARTS_REDIS_AND_IS_KILLED],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    home, pid = run.stdout.split()

    wait_for(lambda: not Path(home).exists(), what="the guard has cleaned up")
    assert not _command_line(pid)


def test_every_role_finds_its_migrated_schema(database: Database) -> None:
    for role in ROLES:
        with connect(database.url(role)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_schema(), to_regclass('alembic_version') IS NULL")
            assert cursor.fetchone() == (role, False)


def test_a_role_reads_no_other_services_orders(database: Database) -> None:
    with (
        connect(database.url("trackops_payment")) as payment,
        payment.cursor() as cursor,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        cursor.execute("SELECT FROM trackops_order.orders")


def test_a_database_is_dropped_although_somebody_is_connected(
    database_template: DatabaseTemplate,
) -> None:
    with database_template.database() as made:
        open_still = psycopg2.connect(made.admin_url)

    open_still.close()
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        psycopg2.connect(made.admin_url)


def _command_line(pid: str) -> str:
    """Empty for a process that has ended, also for a zombie."""
    path = Path("/proc") / pid / "cmdline"
    return path.read_text() if path.exists() else ""


def test_a_secret_in_a_log_is_found_and_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    known = home.passwords(["trackops_order", "trackops_payment"])
    home.log_of("order").write_text("connecting to Postgres")
    assert leaked_secrets(home) == []

    home.log_of("order").with_suffix(".log.1").write_text(f"role:{known['trackops_payment']}@host")

    assert leaked_secrets(home) == ["trackops_payment in order.log.1"]
