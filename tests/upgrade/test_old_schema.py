"""A service that meets a schema older than its code refuses to start, and says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from trackops_cli.local.mesh import ROLES
from trackops_cli.local.provision import connect
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import Database
from trackops_common.revisions import needed_revision
from trackops_common.testing import ServiceProcess


@pytest.fixture
def started(
    servers: LocalStack, database: Database, redis_server: str, kafka_server: str, tmp_path: Path
) -> Iterator[dict[str, ServiceProcess]]:
    """Every service by its role, each on a schema that lacks its last migration."""
    with ExitStack() as stack:
        found = {}
        for role in ROLES:
            with connect(database.url(role)) as own, own.cursor() as cursor:
                cursor.execute("UPDATE alembic_version SET version_num = %s", (before(role),))
            told = servers.services[role.removeprefix("trackops_")].command().environment
            environment = {**told, "TRACKOPS_DATABASE_URL": database.url(role)}
            found[role] = ServiceProcess(role, environment, tmp_path / f"{role}.log")
            stack.callback(found[role].kill)
        yield found


def before(role: str) -> str:
    return f"{int(needed_revision(role)) - 1:04}"


def test_it_refuses_and_names_both_revisions(started: dict[str, ServiceProcess]) -> None:
    for role, process in started.items():
        assert process.wait(seconds=60) == 1, process.output
        (refusal,) = process.logged("cannot serve")
        assert refusal["error"] == (
            f"the schema of role '{role}' is at revision {before(role)}, and this version needs "
            f"{needed_revision(role)}: migrate it first, with `trackops up` or "
            "`python -m trackops_common.migrations`"
        )
        assert process.logged("serving") == []
