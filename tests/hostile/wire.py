"""Protobuf bodies that are wrong in some way, made from a valid one.

A body is taken apart into its records, tag by tag; one of them, at any depth, is
damaged, and everything around it is put together again with lengths that fit,
so that the damage is all that is wrong. Other damage is done to the bytes as a whole.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from .texts import SURROGATE, TEXTS

__all__ = ["damaged", "varint"]

Rng = random.Random

_VARINT, _FIXED64, _BYTES, _START, _END, _FIXED32 = range(6)
_U64 = 2**64
_LARGE = 3 * 2**20
"""Bytes: more than the edge takes, and less than a service does."""

NUMBERS = (
    *(0, 1, 2, 127, 128, 1000, 1001, 10**6 + 1, 10**12 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32),
    *(2**53, 2**63 - 1, 2**63, _U64 - 1, _U64 - 2**31, 253_402_300_800),
)
"""Borders of what fields are, of what columns hold and of what the contracts allow."""

OPAQUE = (
    *(text.encode() for text in TEXTS.values()),
    SURROGATE,
    b"",
    b" ",
    b"0",
    b"-1",
    b"\xff\xfe",
    b"\xc0\x80",
    b"x" * 70_000,
    b"{6F1C0000-0000-4000-8000-00000000000A}",
    b"6F1C0000-0000-4000-8000-00000000000A",
    b"00000000-0000-0000-0000-000000000000",
    b"99999999999999999999",
    "\u0663\u0664".encode(),  # digits, but not ASCII's
    "\uff21\uff22".encode(),  # letters of full width
    b"v99999999999999999999",
    b"v-1",
)


@dataclass(frozen=True)
class _Record:
    """A field as it travels; `kind` is what the contract has there, if it has anything."""

    number: int
    wire_type: int
    payload: bytes
    """Without its length."""
    kind: FieldDescriptor | None = None

    def encoded(self) -> bytes:
        length = varint(len(self.payload)) if self.wire_type == _BYTES else b""
        return varint(self.number << 3 | self.wire_type) + length + self.payload


def damaged(body: bytes, kind: Descriptor, rng: Rng) -> bytes:
    """`body`, a valid message of `kind`, with up to three faults; now and then with none."""
    for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 2, 3))):
        if rng.random() < 0.2:
            body = rng.choice(_WHOLE)(body, rng)
        else:
            body = _damaged_inside(body, kind, rng)
    return body


def varint(number: int) -> bytes:
    """A number from 0 to 2^64 - 1 in base 128."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def _damaged_inside(body: bytes, kind: Descriptor, rng: Rng) -> bytes:
    try:
        records = _records(body, kind)
    except (IndexError, ValueError):  # an earlier fault has made it unreadable
        return rng.choice(_WHOLE)(body, rng)
    if not records:
        return body + _unknown(rng)
    place = rng.randrange(len(records))
    record = records[place]
    inner = record.kind.message_type if record.kind else None
    if inner and record.wire_type == _BYTES and rng.random() < 0.75:
        payload = _damaged_inside(record.payload, inner, rng)
        parts = [replace(record, payload=payload).encoded()]
    else:
        parts = rng.choice(_OF_A_RECORD)(record, rng)
    before, after = records[:place], records[place + 1 :]
    return b"".join([*_encoded(before), *parts, *_encoded(after)])


def _encoded(records: Sequence[_Record]) -> list[bytes]:
    return [record.encoded() for record in records]


def _records(body: bytes, kind: Descriptor) -> list[_Record]:
    """Raises IndexError or ValueError where it is no message."""
    found, at = [], 0
    while at < len(body):
        tag, at = _read_varint(body, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            _, end = _read_varint(body, at)
        elif wire_type == _BYTES:
            length, at = _read_varint(body, at)
            end = at + length
        elif wire_type in (_FIXED64, _FIXED32):
            end = at + (8 if wire_type == _FIXED64 else 4)
        else:
            raise ValueError(wire_type)
        if end > len(body):
            raise ValueError(end)
        known = kind.fields_by_number.get(number)
        found.append(_Record(number, wire_type, body[at:end], known))
        at = end
    return found


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = body[at]
        number, shift, at = number | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return number, at


def _value(record: _Record, rng: Rng) -> list[bytes]:
    """Another value of the same type: what comes farthest."""
    if record.wire_type == _VARINT:
        return [replace(record, payload=varint(rng.choice(NUMBERS))).encoded()]
    if record.wire_type == _BYTES:
        return [replace(record, payload=_other_bytes(record.payload, rng)).encoded()]
    return [replace(record, payload=rng.randbytes(len(record.payload))).encoded()]


def _other_bytes(payload: bytes, rng: Rng) -> bytes:
    fresh = rng.choice(OPAQUE)
    return rng.choice((fresh, fresh, payload + fresh, payload.swapcase(), payload * 2))


def _duplicate(record: _Record, rng: Rng) -> list[bytes]:
    once = record.encoded()
    return [once] * min(rng.choice((2, 3, 65, 501, 1_001)), 2 + _LARGE // len(once))


def _wire_type(record: _Record, rng: Rng) -> list[bytes]:
    return [varint(record.number << 3 | rng.randrange(8)) + record.encoded()[1:]]


def _length(record: _Record, rng: Rng) -> list[bytes]:
    """A length that lies about what follows."""
    length = rng.choice((0, len(record.payload) + 1, len(record.payload) // 2, 2**31 - 1, _U64 - 1))
    return [varint(record.number << 3 | _BYTES) + varint(length) + record.payload]


def _nested(record: _Record, rng: Rng) -> list[bytes]:
    """Itself in itself, again and again."""
    payload = record.payload
    for _ in range(rng.choice((1, 2, 99, 101, 1_000))):
        payload = replace(record, wire_type=_BYTES, payload=payload).encoded()
    return [replace(record, wire_type=_BYTES, payload=payload).encoded()]


def _groups(record: _Record, rng: Rng) -> list[bytes]:
    """Groups, which proto3 does not have, closed or not."""
    depth = rng.choice((1, 99, 5_000))
    ends = rng.choice((depth, depth - 1, 0))
    start, end = varint(record.number << 3 | _START), varint(record.number << 3 | _END)
    return [start * depth, end * ends]


def _long_varint(record: _Record, rng: Rng) -> list[bytes]:
    return [varint(record.number << 3), b"\xff" * rng.choice((4, 9, 10, 40)), b"\x01"]


_OF_A_RECORD: Sequence[Callable[[_Record, Rng], list[bytes]]] = (
    *([_value] * 10),
    lambda _, __: [],
    lambda record, rng: [record.encoded(), _unknown(rng)],
    *([_duplicate] * 2),
    _wire_type,
    _length,
    _nested,
    _groups,
    _long_varint,
)


def _truncated(body: bytes, rng: Rng) -> bytes:
    return body[: rng.randrange(len(body) + 1)]


def _flipped(body: bytes, rng: Rng) -> bytes:
    made = bytearray(body or b"\x00")
    for _ in range(rng.choice((1, 1, 2, 8))):
        made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made)


def _filled(body: bytes, rng: Rng) -> bytes:
    place = rng.randrange(len(body) + 1)
    return body[:place] + rng.randbytes(rng.choice((1, 4, 300))) + body[place:]


def _unknown(rng: Rng) -> bytes:
    """A field that no contract has; 0 is none, and some numbers are not for anybody."""
    number = rng.choice((0, 15, 19_000, 2**29 - 1, 2**29, rng.randrange(1, 2**20)))
    return _Record(number, _BYTES, rng.randbytes(rng.choice((0, 8, 2_000)))).encoded()


_WHOLE: Sequence[Callable[[bytes, Rng], bytes]] = (
    _truncated,
    _flipped,
    _filled,
    lambda body, _: body * 2,
    lambda body, rng: body + _unknown(rng),
    lambda _, rng: rng.randbytes(rng.randrange(200)),
)
