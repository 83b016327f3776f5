"""Outboxes of other schemas, read only; the relay's own table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.exc import ProgrammingError

from trackops_common import arrays
from trackops_common.database import Database, Rows
from trackops_common.errors import DependencyUnavailable, TransientError
from trackops_outbox_relay.application.ports import WaitingRows
from trackops_outbox_relay.domain.checkpoint import Backlog, Checkpoint, OutboxRow
from trackops_outbox_relay.domain.errors import OutboxDiverged
from trackops_outbox_relay.domain.quarantine import Quarantined
from trackops_outbox_relay.domain.rebase import RowPlace

__all__ = ["PostgresKnownSources", "PostgresOutbox", "PostgresOutboxes"]

_COLUMNS = """
SELECT seq, event_id::text, topic, key, type, aggregate_version, payload,
       to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), traceparent
"""

_READ = (
    _COLUMNS
    + """
  FROM "{schema}".outbox
 WHERE seq >= %(seq)s
 ORDER BY seq
 LIMIT %(limit)s
"""
)

_OF_KEY = (
    _COLUMNS
    + """
  FROM "{schema}".outbox
 WHERE seq BETWEEN %(first)s AND %(last)s AND key = %(key)s
 ORDER BY seq
 LIMIT %(limit)s
"""
)

_WAITING = """
SELECT waiting.key, count(*), max(outbox.seq)
  FROM unnest(%(keys)s::text[], %(firsts)s::bigint[]) AS waiting(key, first_seq)
  JOIN "{schema}".outbox ON outbox.key = waiting.key AND outbox.seq >= waiting.first_seq
 WHERE outbox.seq BETWEEN %(lowest)s AND %(last)s
 GROUP BY waiting.key
"""

_PLACES = """
SELECT seq, event_id::text, key, topic, occurred_at FROM "{schema}".outbox ORDER BY seq
"""

_ENDS = """
SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM "{schema}".outbox
"""

_TIME_FROM = """
SELECT seq, occurred_at FROM "{schema}".outbox WHERE seq >= %(seq)s ORDER BY seq LIMIT 1
"""

_BACKLOG = """
SELECT count(*), (SELECT occurred_at FROM "{schema}".outbox
                   WHERE seq > %(seq)s ORDER BY seq LIMIT 1)
  FROM "{schema}".outbox
 WHERE seq > %(seq)s
"""


class PostgresOutbox:
    """One schema's outbox (see `trackops_common.outbox`)."""

    def __init__(self, database: Database, schema: str) -> None:
        self._database = database
        self._schema = schema
        self._read_sql = _READ.format(schema=schema)

    def read(self, checkpoint: Checkpoint, *, limit: int) -> Sequence[OutboxRow]:
        """Reads the row at the checkpoint with those after it.

        So each read, over whichever connection, proves that the database is
        still the one whose rows were published.
        """
        rows = self._rows(self._read_sql, {"seq": checkpoint.seq, "limit": limit + 1})
        if checkpoint.seq == 0:
            return rows[:limit]
        self._verify(checkpoint, rows)
        return rows[1:]

    def backlog(self, checkpoint: Checkpoint) -> Backlog:
        count, oldest = self._fetch(_BACKLOG, {"seq": checkpoint.seq})[0]
        return Backlog(count, oldest)

    def of_key(self, key: str, *, first: int, last: int, limit: int) -> Sequence[OutboxRow]:
        parameters = {"key": key, "first": first, "last": last, "limit": limit}
        return self._rows(_OF_KEY.format(schema=self._schema), parameters)

    def first_seq(self, since: datetime) -> int:
        """By bisection along the primary key: nothing else of an outbox is indexed."""
        low, end = self._fetch(_ENDS)[0]
        high = end + 1
        while low < high:
            middle = (low + high) // 2
            found = self._fetch(_TIME_FROM, {"seq": middle})
            if found and found[0][1] < since:
                low = found[0][0] + 1
            else:
                high = middle
        return int(low)

    def waiting(
        self, keys: Sequence[Quarantined], checkpoint: Checkpoint
    ) -> Mapping[str, WaitingRows]:
        if not keys:
            return {}
        parameters = {
            "keys": arrays.texts(one.key for one in keys),
            "firsts": arrays.integers(one.first_seq for one in keys),
            "lowest": min(one.first_seq for one in keys),
            "last": checkpoint.seq,
        }
        found = self._fetch(_WAITING, parameters)
        return {key: WaitingRows(rows, last_seq) for key, rows, last_seq in found}

    def places(self) -> Sequence[RowPlace]:
        return [RowPlace(*row) for row in self._fetch(_PLACES)]

    def check(self) -> None:
        """Raise `DependencyUnavailable` unless the table is there and may be read."""
        try:
            self.read(Checkpoint(0, ""), limit=0)
        except (TransientError, ProgrammingError) as error:
            raise DependencyUnavailable(f"the outbox of {self._schema}") from error

    def _fetch(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        return self._database.fetch(sql.format(schema=self._schema), parameters)

    def _rows(self, sql: str, parameters: Mapping[str, Any]) -> list[OutboxRow]:
        return [
            OutboxRow(seq, event_id, topic, key, type_, version, bytes(payload), at, traceparent)
            for seq, event_id, topic, key, type_, version, payload, at, traceparent in (
                self._database.fetch(sql, parameters)
            )
        ]

    def _verify(self, checkpoint: Checkpoint, rows: Sequence[OutboxRow]) -> None:
        found = rows[0].event_id if rows and rows[0].seq == checkpoint.seq else None
        if found != checkpoint.event_id:
            raise OutboxDiverged(
                self._schema,
                seq=checkpoint.seq,
                expected_id=checkpoint.event_id,
                found_id=found,
            )


class PostgresOutboxes:
    """The outboxes of all sources."""

    def __init__(self, database: Database, sources: Iterable[str]) -> None:
        self._outboxes = {source: PostgresOutbox(database, source) for source in sources}

    def of(self, source: str) -> PostgresOutbox:
        return self._outboxes[source]

    def check(self) -> None:
        """Raise `DependencyUnavailable` for the first that cannot be read."""
        for outbox in self._outboxes.values():
            outbox.check()


class PostgresKnownSources:
    """`known_sources` of the relay's own schema."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def checkpoint_topic_id(self, source: str) -> str | None:
        rows = self._database.fetch(
            "SELECT checkpoint_topic_id FROM known_sources WHERE source = %(source)s",
            {"source": source},
        )
        return rows[0][0] if rows else None

    def remember(self, source: str, checkpoint_topic_id: str) -> None:
        self._database.execute(
            "INSERT INTO known_sources (source, checkpoint_topic_id)"
            " VALUES (%(source)s, %(topic_id)s)"
            " ON CONFLICT (source) DO UPDATE SET checkpoint_topic_id = %(topic_id)s",
            {"source": source, "topic_id": checkpoint_topic_id},
        )
