"""What is counted is what is not finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from trackops_cli.testing import Database as FreshDatabase
from trackops_common.database import Database
from trackops_common.testing_http import numbers
from trackops_common.vitals import Sampled, Vitals
from trackops_saga_orchestrator.adapters.census import PostgresCensus
from trackops_saga_orchestrator.adapters.encoding import encode_steps
from trackops_saga_orchestrator.application.census import Census, LiveSagas, SagasAtStep
from trackops_saga_orchestrator.domain.definitions import DEFINITIONS
from trackops_saga_orchestrator.domain.progress import StepProgress, StepState
from trackops_saga_orchestrator.entrypoints.numbers import show_census

_SAGA = """
INSERT INTO sagas (saga_id, definition, definition_version, definition_hash, subject, state, input,
                   steps, epoch, wake_at, create_time, parked_on, waits_for)
SELECT gen_random_uuid(), %(definition)s, 1, 'hash', 'order', %(state)s, '{}', %(steps)s, 1, now(),
       now() - make_interval(secs => %(age)s), %(parked_on)s,
       CASE WHEN %(state)s = 'QUEUED' THEN gen_random_uuid() END
"""


@pytest.fixture
def schema(database: FreshDatabase) -> Iterator[Database]:
    url = database.url("trackops_saga_orchestrator")
    with closing(Database(url, application_name="test")) as made:
        yield made


def _insert(
    schema: Database,
    definition: str,
    state: str,
    *,
    age: float = 0,
    parked_on: str | None = None,
    steps: Mapping[str, StepState] | None = None,
) -> None:
    progress = [
        StepProgress(name, state, datetime(2026, 1, 1, tzinfo=UTC), 1)
        for name, state in (steps or {}).items()
    ]
    row = {
        "definition": definition,
        "state": state,
        "age": age,
        "parked_on": parked_on,
        "steps": encode_steps(progress),
    }
    schema.execute(_SAGA, row)


def test_no_sagas_are_no_numbers(schema: Database) -> None:
    census = PostgresCensus(schema)()

    assert (census.live, census.steps, census.parked) == ([], [], {})


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


def test_a_saga_is_counted_at_each_step_where_it_stands(schema: Database) -> None:
    done, sent, waits = StepState.DONE, StepState.SENT, StepState.WAITING
    _insert(schema, "pay", "RUNNING", age=90, steps={"a": done, "b": sent, "c": sent, "d": waits})
    _insert(schema, "pay", "RUNNING", age=10, steps={"a": StepState.AWAITING})
    _insert(schema, "pay", "RUNNING", age=50, steps={"a": done, "b": sent, "c": waits})
    _insert(schema, "pay", "COMPLETED", steps={"a": sent})
    refused = StepState.REFUSED
    _insert(schema, "pay", "COMPENSATING", steps={"a": StepState.COMPENSATING, "b": refused})
    _insert(schema, "pay", "NEEDS_OPERATOR", steps={"a": refused, "b": StepState.EXHAUSTED})

    found = {(it.state, it.step): it for it in PostgresCensus(schema)().steps}

    assert {key: it.number for key, it in found.items()} == {
        ("RUNNING", "a"): 1,
        ("RUNNING", "b"): 2,
        ("RUNNING", "c"): 1,
        ("COMPENSATING", "a"): 1,
        ("NEEDS_OPERATOR", "a"): 1,
        ("NEEDS_OPERATOR", "b"): 1,
    }
    assert 90 <= found["RUNNING", "b"].oldest_seconds < 150


def _shown(census: Census | None) -> dict[tuple[str, frozenset[str]], float]:
    vitals, sampled = Vitals(registry := CollectorRegistry()), Sampled(lambda: Census([], [], {}))
    sampled.value = census
    show_census(vitals, sampled, DEFINITIONS)
    return numbers(generate_latest(registry).decode())


def test_what_there_is_none_of_is_shown_as_0() -> None:
    shown = _shown(Census([LiveSagas("place-order", "RUNNING", 3, 4.5)], [], {}))

    def of(name: str, **labels: str) -> float:
        return shown[name, frozenset(f"{key}={value}" for key, value in labels.items())]

    place = {"definition": "place-order"}
    assert of("trackops_sagas", **place, state="RUNNING") == 3
    assert of("trackops_saga_oldest_seconds", **place, state="RUNNING") == 4.5
    assert of("trackops_sagas", **place, state="NEEDS_OPERATOR") == 0
    assert of("trackops_sagas_parked", participant="payment") == 0
    for name in ("trackops_saga_steps", "trackops_saga_step_oldest_seconds"):
        assert of(name, **place, state="COMPENSATING", step="on-failure") == 0
    assert {key for key, _ in shown} == {
        f"trackops_{name}"
        for name in ("sagas", "saga_oldest_seconds", "saga_steps", "saga_step_oldest_seconds")
    } | {"trackops_sagas_parked"}


def test_a_step_is_shown_with_the_age_of_its_oldest_saga() -> None:
    shown = _shown(Census([], [SagasAtStep("place-order", "RUNNING", "reserve-stock", 2, 30)], {}))

    labels = frozenset({"definition=place-order", "state=RUNNING", "step=reserve-stock"})
    assert shown["trackops_saga_steps", labels] == 2
    assert shown["trackops_saga_step_oldest_seconds", labels] == 30


def test_without_an_answer_there_are_no_numbers() -> None:
    assert _shown(None) == {}
