from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat

from trackops_common.envelope import Attributes, HeaderWriter, InvalidEnvelope, parse

_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class _AsItCame(JSONFormat):
    """The SDK makes text of bytes that could be some, unless it is told what they are."""

    def read_data(self, body: bytes, _: str | None) -> bytes:
        return body


def _headers(traceparent: str = "") -> list[tuple[str, bytes]]:
    """As they are read: the client has made bytes of them."""
    written = HeaderWriter("trackops_order").headers(
        event_id="0b7e",
        type_="trackops.order.v1.OrderPlaced",
        subject="order-1",
        time="2026-11-23T10:00:00.000001Z",
        outboxseq=7,
        aggregateversion=2,
        traceparent=traceparent,
    )
    return [(name, str(value).encode()) for name, value in written]


def test_what_is_written_is_read_back() -> None:
    assert parse(_headers(_TRACE)) == Attributes(
        id="0b7e",
        type="trackops.order.v1.OrderPlaced",
        source="/trackops/trackops_order",
        subject="order-1",
        time=datetime(2026, 11, 23, 10, 0, 0, 1, tzinfo=UTC),
        outboxseq=7,
        aggregateversion=2,
        traceparent=_TRACE,
    )


def test_the_headers_are_those_of_the_binary_mode() -> None:
    headers = dict(_headers())
    assert headers["ce_specversion"] == b"1.0"
    assert headers["content-type"] == b"application/protobuf"
    assert "traceparent" not in headers


@pytest.mark.parametrize("missing", ["ce_id", "ce_type", "ce_time", "ce_outboxseq"])
def test_a_missing_header_is_named(missing: str) -> None:
    headers = [header for header in _headers() if header[0] != missing]
    with pytest.raises(InvalidEnvelope, match=missing):
        parse(headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_specversion", b"2.0"),
        ("ce_outboxseq", b"seven"),
        ("ce_time", b"noon"),
        ("ce_id", b"\xff"),
    ],
)
def test_a_header_that_cannot_be_read_is_refused(name: str, value: bytes) -> None:
    with pytest.raises(InvalidEnvelope):
        parse([*_headers(), (name, value)])


def test_no_headers_at_all_are_refused() -> None:
    with pytest.raises(InvalidEnvelope):
        parse(None)


def test_the_cloudevents_sdk_reads_what_is_written() -> None:
    message = KafkaMessage(headers=dict(_headers(_TRACE)), key=b"order-1", value=b"\x0a\x01x")
    event = from_binary(message, _AsItCame())
    assert (event.get_specversion(), event.get_id()) == ("1.0", "0b7e")
    assert event.get_type() == "trackops.order.v1.OrderPlaced"
    assert event.get_source() == "/trackops/trackops_order"
    assert event.get_subject() == "order-1"
    assert event.get_time() == datetime(2026, 11, 23, 10, 0, 0, 1, tzinfo=UTC)
    assert event.get_datacontenttype() == "application/protobuf"
    assert event.get_data() == b"\x0a\x01x"
    assert event.get_extension("outboxseq") == "7"
    assert event.get_extension("aggregateversion") == "2"
