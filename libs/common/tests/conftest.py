"""One service's schema, as that service sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from trackops_cli.testing import Database as FreshDatabase
from trackops_common.database import Database
from trackops_common.partitions import maintain_outbox, maintain_requests


@pytest.fixture
def schema_url(database: FreshDatabase) -> str:
    return database.url("trackops_order")


@pytest.fixture
def schema(schema_url: str) -> Iterator[Database]:
    """A migrated schema with its partitions, and a table `things` of the tests' own."""
    with closing(Database(schema_url, application_name="test", pool_size=4)) as made:
        maintain_outbox(made)
        maintain_requests(made)
        made.execute("CREATE TABLE things (id int PRIMARY KEY, name text NOT NULL)")
        yield made
