"""Requests that the contracts allow, for every RPC, made from the descriptors.

What a field is called says what goes in: ids of things that exist, or might. So
most samples come through validation and reach the use case behind it.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from trackops.order.v1 import order_events_pb2

__all__ = ["PASSWORD", "SKUS", "Known", "Sampler", "is_map"]

Rng = random.Random

SKUS = ("HOSTILE-1", "HOSTILE-2", "HOSTILE-3")
PASSWORD = "correct horse battery staple"
_TRIGGERS = ("OrderPlaced", "OrderCancellationRequested", "OrderShipped", "OrderReturned")
_SOURCES = ("trackops_order", "trackops_payment", "trackops_inventory", "trackops_identity")


@dataclass(frozen=True)
class Known:
    """What is there to be asked about; lists may be empty."""

    orders: Sequence[str] = ()
    sagas: Sequence[str] = ()
    users: Sequence[str] = ()
    emails: Sequence[str] = ()
    sessions: Sequence[str] = ()
    refresh_tokens: Sequence[str] = field(default=(), repr=False)


class Sampler:
    """Requests about what is known."""

    def __init__(self, known: Known) -> None:
        self._texts: Mapping[str, Callable[[Rng], str]] = _texts(known)

    def request(self, method: MethodDescriptor, rng: Rng) -> Message:
        """Another one for each state of `rng`."""
        return self._message(method.input_type, rng)

    def _message(self, kind: Descriptor, rng: Rng) -> Message:
        message: Any = GetMessageClass(kind)()
        if special := _SPECIAL.get(kind.full_name):
            special(self, message, rng)
            return message  # type: ignore[no-any-return]
        for one in kind.fields:
            if not _is_left_out(one, rng):
                self._fill(message, one, rng)
        return message  # type: ignore[no-any-return]

    def _fill(self, message: Any, one: FieldDescriptor, rng: Rng) -> None:
        if is_map(one):
            entries = getattr(message, one.name)
            entry: Any = one.message_type
            key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
            for _ in range(rng.randint(0, 2)):
                entries[self._key(one, key, rng)] = self._scalar(value, rng)
        elif one.is_repeated:
            values = [self._value(one, rng) for _ in range(rng.choice((1, 1, 2, 3)))]
            if not one.message_type:
                values = list(dict.fromkeys(values))
            getattr(message, one.name).extend(values)
        elif one.message_type:
            getattr(message, one.name).CopyFrom(self._message(one.message_type, rng))
        else:
            setattr(message, one.name, self._scalar(one, rng))

    def _key(self, entries: FieldDescriptor, key: FieldDescriptor, rng: Rng) -> Any:
        if entries.name == "min_versions":
            return self._texts["order_id"](rng)
        return f"key-{rng.randint(0, 9)}" if key.type == key.TYPE_STRING else 1

    def _value(self, one: FieldDescriptor, rng: Rng) -> Any:
        return self._message(one.message_type, rng) if one.message_type else self._scalar(one, rng)

    def _scalar(self, one: Any, rng: Rng) -> Any:
        if one.type == FieldDescriptor.TYPE_STRING:
            made = self._texts.get(f"{one.containing_type.name}.{one.name}")
            return (made or self._texts.get(one.name, _some_text))(rng)
        if one.type == FieldDescriptor.TYPE_BYTES:
            return rng.randbytes(rng.randint(0, 40))
        if one.type == FieldDescriptor.TYPE_ENUM:
            return rng.choice([value.number for value in one.enum_type.values][1:])
        if one.type == FieldDescriptor.TYPE_BOOL:
            return rng.random() < 0.5
        if one.name in ("min_version", "min_versions", "after_version", "page_size"):
            return rng.randint(0, 2)
        return rng.randint(1, 5)


def is_map(one: FieldDescriptor) -> bool:
    return bool(one.message_type and one.message_type.GetOptions().map_entry)


def _is_left_out(one: FieldDescriptor, rng: Rng) -> bool:
    """What a caller may leave out, and what would ask for a page or a version that is not there."""
    if one.full_name.endswith(".LoginRequest.new_password"):
        return rng.random() < 0.8
    if one.name in ("page_token", "etag", "min_version"):
        return rng.random() < 0.8
    return one.name in ("shipping_address", "billing_address", "since") and rng.random() < 0.5


def _some_text(rng: Rng) -> str:
    return rng.choice(("tea", "for the shop", "Zürich 4", "a-b", "x" * 40))


def _texts(known: Known) -> Mapping[str, Callable[[Rng], str]]:
    """By the names of fields, or of a message and its field."""

    def some(values: Sequence[str], or_else: Callable[[Rng], str]) -> Callable[[Rng], str]:
        return lambda rng: rng.choice(values) if values and rng.random() < 0.9 else or_else(rng)

    order_id = some(known.orders, _uuid)
    email = some(known.emails, lambda rng: f"hostile-{rng.getrandbits(40):x}@example.com")
    token = some(known.refresh_tokens, lambda rng: rng.randbytes(24).hex())
    return {
        "request_id": _uuid,
        "order_id": order_id,
        "order_ids": order_id,
        "key": order_id,
        "subject": order_id,
        "saga_id": some(known.sagas, _uuid),
        "user_id": some(known.users, _uuid),
        "session_ids": some(known.sessions, _uuid),
        "email": email,
        "password": some([PASSWORD], _some_text),
        "new_password": some([PASSWORD], _some_text),
        "refresh_token": token,
        "sku": lambda rng: rng.choice(SKUS),
        "skus": lambda rng: rng.choice(SKUS),
        "customer_id": lambda rng: f"hostile-{rng.randint(0, 5)}",
        "currency_code": lambda rng: rng.choice(("EUR", "EUR", "USD", "JPY")),
        "country_code": lambda _: "CH",
        "payment_method_token": lambda rng: rng.choice(("tok_visa", "tok_declined")),
        "client_id": lambda rng: f"hostile-{rng.randint(0, 3)}",
        "source": lambda rng: rng.choice(_SOURCES),
        "definition": lambda rng: rng.choice(("place-order", "fulfil-order", "cancel-order")),
        "step": lambda rng: rng.choice(("reserve-stock", "authorize-payment", "confirm-order")),
        "etag": lambda rng: f"v{rng.randint(1, 4)}",
        "logger": lambda rng: f"hostile.{rng.randint(0, 3)}",
        "ListQuarantineRequest.page_token": lambda rng: str(rng.randint(0, 10**17)),
        "ListOperationsRequest.page_token": lambda rng: str(rng.randint(0, 10**17)),
        "carrier": lambda _: "DHL",
        "tracking_number": lambda rng: f"JD {rng.randint(0, 99)}",
        "digest": lambda rng: rng.randbytes(16).hex(),
    }


def _uuid(rng: Rng) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _any(sampler: Sampler, message: AnyMessage, rng: Rng) -> None:
    """A trigger of a saga."""
    kind = order_events_pb2.DESCRIPTOR.message_types_by_name[rng.choice(_TRIGGERS)]
    message.Pack(sampler._message(kind, rng))


def _timestamp(_sampler: Sampler, message: Any, rng: Rng) -> None:
    message.seconds = 1_700_000_000 + rng.randint(0, 200_000_000)


def _duration(_sampler: Sampler, message: Any, rng: Rng) -> None:
    message.seconds = rng.randint(1, 60)


_SPECIAL: Mapping[str, Callable[[Sampler, Any, Rng], None]] = {
    "google.protobuf.Any": _any,
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
}
