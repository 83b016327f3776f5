"""The inventory on the tables in memory and on Postgres alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trackops_cli import testing
from trackops_common.database import Database

from .inventory_fakes import THREADS, InMemoryTables, Inventory, PostgresTables


@pytest.fixture(params=["memory", "postgres"])
def inventory(request: pytest.FixtureRequest) -> Iterator[Inventory]:
    if request.param == "memory":
        yield Inventory(InMemoryTables())
        return
    url = request.getfixturevalue("database").url("trackops_inventory")
    database = Database(url, application_name="test")
    yield Inventory(PostgresTables(database))
    database.close()


@pytest.fixture
def connections(database: testing.Database) -> Iterator[Database]:
    """Enough for `THREADS` at once and somebody who watches them."""
    url = database.url("trackops_inventory")
    connections = Database(url, application_name="test", pool_size=THREADS + 2)
    yield connections
    connections.close()


@pytest.fixture
def tables(connections: Database) -> PostgresTables:
    return PostgresTables(connections)
