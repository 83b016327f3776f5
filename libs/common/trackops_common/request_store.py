"""The stored requests in Postgres."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from trackops_common import arrays
from trackops_common.database import Transaction
from trackops_common.idempotency import StoredRequest

__all__ = ["PostgresRequestStore"]


class PostgresRequestStore:
    """A `RequestStore` on the `requests` table, within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def find(self, keys: Iterable[uuid.UUID]) -> Sequence[StoredRequest]:
        wanted = list(keys)
        if not wanted:
            return ()
        rows = self._transaction.execute(
            "SELECT request_key, request_hash, response FROM requests"
            " WHERE request_key = ANY(%(keys)s::uuid[])",
            {"keys": arrays.uuids(wanted)},
        )
        return [StoredRequest(row[0], bytes(row[1]), bytes(row[2])) for row in rows]

    def save(self, requests: Sequence[StoredRequest]) -> None:
        if not requests:
            return
        self._transaction.execute(
            "INSERT INTO requests (request_key, request_hash, response)"
            " SELECT * FROM unnest(%(keys)s::uuid[], %(hashes)s::bytea[], %(responses)s::bytea[])",
            {
                "keys": arrays.uuids(request.request_key for request in requests),
                "hashes": arrays.byteas(request.request_hash for request in requests),
                "responses": arrays.byteas(request.response for request in requests),
            },
        )
