"""The envelope of an event in Kafka: CloudEvents 1.0, Kafka protocol binding, binary mode.

Attributes travel as headers `ce_…`, the payload is the record's value, and the
record's key is the aggregate's id. `outboxseq` and `aggregateversion` are
extension attributes; `traceparent` stands alone, as tracing tools expect it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from trackops_common.tracing import well_formed

__all__ = ["Attributes", "Header", "HeaderWriter", "InvalidEnvelope", "parse"]

Header = tuple[str, str | bytes | None]
"""As Kafka clients take it; what they read is always bytes."""


class InvalidEnvelope(Exception):
    """The headers are not those of an event of ours."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"not a CloudEvent of the outbox: {problem}")
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the headers say about an event (CloudEvents 1.0)."""

    id: str
    """Unique within `source`."""
    type: str
    """Full name of the payload's protobuf message."""
    source: str
    """`/trackops/<schema>` of the outbox it came from."""
    subject: str
    """Id of the aggregate."""
    time: datetime
    """When the fact became true."""
    outboxseq: int
    """Place in the source's outbox; grows with the order of commits."""
    aggregateversion: int
    """The aggregate's version after the event."""
    traceparent: str = ""
    """W3C trace context of the request that caused the event; empty where there was none."""


class HeaderWriter:
    """Makes the headers of the events of one source."""

    def __init__(self, schema: str) -> None:
        self._constant: list[Header] = [
            ("ce_specversion", "1.0"),
            ("content-type", "application/protobuf"),
            ("ce_source", f"/trackops/{schema}"),
        ]

    def headers(
        self,
        *,
        event_id: str,
        type_: str,
        subject: str,
        time: str,
        outboxseq: int,
        aggregateversion: int,
        traceparent: str,
    ) -> list[Header]:
        """The headers of one event; `time` is RFC 3339."""
        headers = [
            *self._constant,
            ("ce_id", event_id),
            ("ce_type", type_),
            ("ce_subject", subject),
            ("ce_time", time),
            ("ce_outboxseq", str(outboxseq)),
            ("ce_aggregateversion", str(aggregateversion)),
        ]
        if traceparent:
            headers.append(("traceparent", traceparent))
        return headers


def parse(headers: Iterable[tuple[str, bytes]] | None) -> Attributes:
    """The attributes that the headers hold; headers it does not know are ignored.

    Raises:
        InvalidEnvelope: a required header is missing or cannot be read.
    """
    named = dict(headers or ())
    try:
        if named["ce_specversion"] != b"1.0":
            raise InvalidEnvelope(f"specversion is {named['ce_specversion']!r}")
        return Attributes(
            named["ce_id"].decode(),
            named["ce_type"].decode(),
            named["ce_source"].decode(),
            named["ce_subject"].decode(),
            datetime.fromisoformat(named["ce_time"].decode()),
            int(named["ce_outboxseq"]),
            int(named["ce_aggregateversion"]),
            well_formed(named["traceparent"].decode()) if "traceparent" in named else "",
        )
    except KeyError as error:
        raise InvalidEnvelope(f"header {error.args[0]} is missing") from error
    except ValueError as error:
        raise InvalidEnvelope(str(error)) from error
