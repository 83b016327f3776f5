"""What is counted is what is not finished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from trackops_cli.testing import Database as FreshDatabase
from trackops_common.database import Database
from trackops_saga_orchestrator.adapters.census import PostgresCensus

_SAGA = """
INSERT INTO sagas (saga_id, definition, definition_version, definition_hash, subject, state, input,
                   steps, epoch, wake_at, create_time, parked_on, waits_for)
SELECT gen_random_uuid(), %(definition)s, 1, 'hash', 'order', %(state)s, '{}', '{}', 1, now(),
       now() - make_interval(secs => %(age)s), %(parked_on)s,
       CASE WHEN %(state)s = 'QUEUED' THEN gen_random_uuid() END
"""


@pytest.fixture
def schema(database: FreshDatabase) -> Iterator[Database]:
    url = database.url("trackops_saga_orchestrator")
    with closing(Database(url, application_name="test")) as made:
        yield made


def _insert(
    schema: Database, definition: str, state: str, *, age: float = 0, parked_on: str | None = None
) -> None:
    row = {"definition": definition, "state": state, "age": age, "parked_on": parked_on}
    schema.execute(_SAGA, row)


def test_no_sagas_are_no_numbers(schema: Database) -> None:
    census = PostgresCensus(schema)()

    assert (census.live, census.parked) == ([], {})


def test_unfinished_sagas_are_counted_by_definition_and_state(schema: Database) -> None:
    for age in (50, 500):
        _insert(schema, "place-order", "RUNNING", age=age)
    for state in ("COMPENSATING", "QUEUED", "PAUSED", "NEEDS_OPERATOR", "COMPLETED", "COMPENSATED"):
        _insert(schema, "cancel-order", state)
    _insert(schema, "place-order", "COMPENSATING", parked_on="inventory")

    census = PostgresCensus(schema)()

    assert {(live.definition, live.state): live.number for live in census.live} == {
        ("place-order", "RUNNING"): 2,
        ("place-order", "COMPENSATING"): 1,
        ("cancel-order", "COMPENSATING"): 1,
        ("cancel-order", "QUEUED"): 1,
        ("cancel-order", "PAUSED"): 1,
        ("cancel-order", "NEEDS_OPERATOR"): 1,
    }
    (oldest,) = (live for live in census.live if live.state == "RUNNING")
    assert 500 <= oldest.oldest_seconds < 560
    assert census.parked == {"inventory": 1}
