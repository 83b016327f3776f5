"""Where text is in messages, found through their descriptors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

__all__ = ["Place", "places", "texts_of", "with_text"]

Place = tuple[str, Callable[[], None]]
"""A field's path as a violation names it, and what puts the text there."""


def places(message: Message, text: str, prefix: str = "") -> Iterator[Place]:
    """Every string of `message`, a valid one, that could be `text`; unset fields too.

    What is in an `Any` is not: its bytes are a message of their own.
    """
    for field in message.DESCRIPTOR.fields:
        yield from _of_field(message, field, text, prefix)


def _of_field(message: Any, field: Any, text: str, prefix: str) -> Iterator[Place]:
    kind, path = field.message_type, prefix + field.name
    value = getattr(message, field.name)
    if kind and kind.GetOptions().map_entry:
        yield from _of_map(value, kind, text, path)
    elif kind and field.is_repeated:
        for number, one in enumerate(value):
            yield from places(one, text, f"{path}[{number}].")
    elif kind and message.HasField(field.name):
        yield from places(value, text, f"{path}.")
    elif field.type == FieldDescriptor.TYPE_STRING and field.is_repeated:
        yield f"{path}[{len(value)}]", lambda: value.append(text)
    elif field.type == FieldDescriptor.TYPE_STRING:
        yield path, lambda: setattr(message, field.name, text)


def _of_map(entries: Any, kind: Descriptor, text: str, path: str) -> Iterator[Place]:
    if kind.fields_by_name["key"].type == FieldDescriptor.TYPE_STRING:
        yield path, lambda: entries.update({text: next(iter(entries.values()), 1)})
    if kind.fields_by_name["value"].type == FieldDescriptor.TYPE_STRING:
        yield f"{path}[key]", lambda: entries.update({"key": text})


def with_text(kind: Any, text: str, depth: int = 0) -> Message:
    """A message with `text` in every string, each list and map having one element."""
    message: Any = GetMessageClass(kind)()
    for field in kind.fields:
        inner: Any = field.message_type
        if inner and inner.GetOptions().map_entry:
            getattr(message, field.name)["key"] = text
        elif inner and depth < 5 and not inner.full_name.startswith("google."):
            value = with_text(inner, text, depth + 1)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                getattr(message, field.name).CopyFrom(value)
        elif field.type == FieldDescriptor.TYPE_STRING:
            if field.is_repeated:
                getattr(message, field.name).append(text)
            else:
                setattr(message, field.name, text)
    return message  # type: ignore[no-any-return]


def texts_of(message: Message, name: str = "") -> Iterator[tuple[str, str]]:
    """Name of the field and text of every string in `message`; a map's keys and values too."""
    for field, value in message.ListFields():
        items = list(value) if field.is_repeated else [value]
        if field.message_type and field.message_type.GetOptions().map_entry:
            items = [*value.keys(), *value.values()]
        for item in items:
            if isinstance(item, Message):
                yield from texts_of(item, field.name)
            elif isinstance(item, str):
                yield field.name, item
