from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from trackops_common import arrays
from trackops_common.database import Database
from trackops_common.errors import BatchRefused

NASTY = [
    "",
    " ",
    "NULL",
    "null",
    '"',
    '""',
    "\\",
    "\\\\",
    '\\"',
    "{",
    "}",
    "{}",
    "{a,b}",
    ",",
    "a,b",
    "'",
    "''; DROP TABLE orders; --",
    "%",
    "%(name)s",
    "%s",
    "line\nfeed\r\ttab",
    "\x01\x1f\x7f\x85\u2028",
    "é ß 漢字 🜁 \u202e",
    "x" * 100_000,
]

POSTGRES_TEXT = some.text(
    some.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30
)
DATABASE_EXAMPLES = settings(deadline=None, max_examples=50)
MOMENTS = some.datetimes(min_value=datetime(1, 1, 1), timezones=some.just(UTC))


@pytest.fixture(scope="module")
def server(postgres: str) -> Iterator[Database]:
    with closing(Database(postgres, application_name="test", pool_size=1)) as database:
        yield database


def _elements(server: Database, array: str, element_type: str) -> list[object]:
    rows = server.fetch(f"SELECT unnest(%(array)s::{element_type}[])", {"array": array})
    return [bytes(row[0]) if isinstance(row[0], memoryview) else row[0] for row in rows]


def test_nasty_texts_arrive_as_they_were(server: Database) -> None:
    values = [*NASTY, None, *reversed(NASTY)]

    assert _elements(server, arrays.texts(values), "text") == values


@pytest.mark.parametrize("make", [arrays.texts, arrays.uuids, arrays.integers, arrays.byteas])
def test_nothing_is_an_empty_array(server: Database, make: object) -> None:
    assert callable(make)
    assert _elements(server, make([]), "text") == []


def test_any_text_arrives_as_it_was(server: Database) -> None:
    @DATABASE_EXAMPLES
    @given(some.lists(some.none() | POSTGRES_TEXT, max_size=8))
    def arrives(values: list[str | None]) -> None:
        assert _elements(server, arrays.texts(values), "text") == values

    arrives()


def test_any_bytes_arrive_as_they_were(server: Database) -> None:
    @DATABASE_EXAMPLES
    @given(some.lists(some.binary(max_size=30), max_size=8))
    def arrive(values: list[bytes]) -> None:
        assert _elements(server, arrays.byteas(values), "bytea") == values

    arrive()


def test_any_integer_of_64_bits_arrives_as_it_was(server: Database) -> None:
    @DATABASE_EXAMPLES
    @given(some.lists(some.integers(-(2**63), 2**63 - 1), max_size=8))
    def arrives(values: list[int]) -> None:
        assert _elements(server, arrays.integers(values), "bigint") == values

    arrives()


def test_any_uuid_arrives_as_it_was(server: Database) -> None:
    @DATABASE_EXAMPLES
    @given(some.lists(some.uuids(), max_size=8))
    def arrives(values: list[uuid.UUID]) -> None:
        texts = [str(value) for value in values]
        assert _elements(server, arrays.uuids(values), "uuid") == values
        assert _elements(server, arrays.uuids(texts), "uuid") == values

    arrives()


def test_any_moment_arrives_to_the_microsecond(server: Database) -> None:
    @DATABASE_EXAMPLES
    @given(some.lists(some.none() | MOMENTS, max_size=8))
    def arrives(values: list[datetime | None]) -> None:
        assert _elements(server, arrays.timestamps(values), "timestamptz") == values

    arrives()


def test_text_that_postgres_cannot_hold_refuses_the_batch() -> None:
    with pytest.raises(BatchRefused):
        arrays.texts(["fine", "nul\x00"])
