"""Facts leave a service with the transaction that makes them true.

A transaction ends with one string: take the schema's outbox lock, insert the
rows in order, commit. So the order of `seq` is the order of commits, and a
reader that has seen `seq = n` can never miss a smaller one that commits later.
One string means one round trip, so that the lock is held for one insert and
one commit even when the client stalls. The wake-up follows the commit: inside
the transaction, the lock that `NOTIFY` takes would queue the commits of every
service in the database.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trackops_common import arrays

__all__ = ["INSERT_AND_COMMIT", "WAKE_UP_CHANNEL", "OutboxEvent", "insert_parameters"]

WAKE_UP_CHANNEL = "trackops_outbox"
"""`NOTIFY` channel; the payload is the schema whose outbox has new rows."""


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """A fact on its way to Kafka (CloudEvents 1.0 attributes in brackets)."""

    event_id: uuid.UUID
    """[id]"""
    topic: str
    key: str
    """Id of the aggregate [subject]; events of one key stay in order."""
    type: str
    """Full name of the payload's protobuf message [type]."""
    aggregate_version: int
    """The aggregate's version after the event."""
    payload: bytes
    occurred_at: datetime
    """[time]"""
    traceparent: str = ""
    """W3C trace context of the request that caused the event; may be empty."""


INSERT_AND_COMMIT = """
SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.outbox', 0));
INSERT INTO outbox (event_id, topic, key, type, aggregate_version, payload,
                    occurred_at, traceparent)
SELECT event_id, topic, key, type, aggregate_version, payload, occurred_at, traceparent
  FROM unnest(%(event_ids)s::uuid[], %(topics)s::text[], %(keys)s::text[], %(types)s::text[],
              %(aggregate_versions)s::bigint[], %(payloads)s::bytea[],
              %(occurred_ats)s::timestamptz[], %(traceparents)s::text[])
       WITH ORDINALITY AS new(event_id, topic, key, type, aggregate_version, payload,
                              occurred_at, traceparent, ordinality)
 ORDER BY ordinality;
COMMIT;
SELECT pg_notify('trackops_outbox', current_schema())
"""


def insert_parameters(events: Sequence[OutboxEvent]) -> Mapping[str, Any]:
    """The parameters of `INSERT_AND_COMMIT`."""
    return {
        "event_ids": arrays.uuids(event.event_id for event in events),
        "topics": arrays.texts(event.topic for event in events),
        "keys": arrays.texts(event.key for event in events),
        "types": arrays.texts(event.type for event in events),
        "aggregate_versions": arrays.integers(event.aggregate_version for event in events),
        "payloads": arrays.byteas(event.payload for event in events),
        "occurred_ats": arrays.timestamps(event.occurred_at for event in events),
        "traceparents": arrays.texts(event.traceparent for event in events),
    }
