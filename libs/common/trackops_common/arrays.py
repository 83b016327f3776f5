"""Postgres array literals, so that a whole column of a batch is one bound parameter.

The driver would adapt a list element by element, which costs more than the
statement. Each function returns the text of an array, to be bound as
`%(name)s::type[]`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from trackops_common.errors import BatchRefused

__all__ = ["byteas", "integers", "texts", "timestamps", "uuids"]


def uuids(values: Iterable[UUID | str]) -> str:
    """For `::uuid[]`."""
    return "{" + ",".join(map(str, values)) + "}"


def integers(values: Iterable[int | None]) -> str:
    """For `::int[]` and `::bigint[]`; None is NULL."""
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"


def timestamps(values: Iterable[datetime | None]) -> str:
    """For `::timestamptz[]`; None is NULL."""
    return "{" + ",".join(f'"{value.isoformat()}"' if value else "NULL" for value in values) + "}"


def texts(values: Iterable[str | None]) -> str:
    """For `::text[]`; None is NULL.

    Raises:
        BatchRefused: a NUL character, which Postgres cannot store.
    """
    return "{" + ",".join(map(_quoted, values)) + "}"


def byteas(values: Iterable[bytes]) -> str:
    """For `::bytea[]`."""
    return "{" + ",".join(f'"\\\\x{value.hex()}"' for value in values) + "}"


def _quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    if "\x00" in value:
        raise BatchRefused("text with a NUL character cannot be stored")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
