"""The use cases on tables in memory and on Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from trackops_common.database import Database

from .payment_fakes import InMemoryTables, Payments, PostgresTables


@pytest.fixture(params=["memory", "postgres"])
def payments(request: pytest.FixtureRequest) -> Iterator[Payments]:
    if request.param == "memory":
        yield Payments(InMemoryTables())
        return
    url = request.getfixturevalue("database").url("trackops_payment")
    with closing(Database(url, application_name="test")) as database:
        yield Payments(PostgresTables(database))
