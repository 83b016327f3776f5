"""Text as it is accepted from callers: in Unicode's normal form C, without control characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from operator import attrgetter
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

__all__ = ["normalise_text", "printable"]

_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Category Cc, the separators of lines and of paragraphs, and the characters that reorder the text
around them."""

Violation = tuple[str, str]


def normalise_text(message: Message) -> list[Violation]:
    """Bring every string in `message` to NFC, in place; path and description of each refused one.

    Nested messages, lists and maps (keys too) are searched; what is packed in
    an `Any` is not. ASCII without control characters, the common case, is
    recognised without looking at single fields.
    """
    return [] if _scan_of(message.DESCRIPTOR).is_plain(message) else list(_normalised(message, ""))


def printable(text: str) -> str:
    """`text` with every refused character written as its escape."""
    return _REFUSED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class _Scan:
    """Where the text of one message type is, found in its descriptor once."""

    def __init__(self, descriptor: Descriptor) -> None:
        fields = descriptor.fields
        strings = [field for field in fields if field.type == FieldDescriptor.TYPE_STRING]
        self.scalars = _reader([field.name for field in strings if not field.is_repeated])
        self._lists = [field.name for field in strings if field.is_repeated]
        self._messages = [
            (field, field.message_type)
            for field in fields
            if field.message_type and _has_text(field.message_type)
        ]

        self.is_flat = not self._lists and not self._messages

    @cached_property
    def _children(self) -> list[Callable[[Any], bool]]:
        """Made on first use: a type may contain itself."""
        return [_child_check(field, kind) for field, kind in self._messages]

    def is_plain(self, message: Any) -> bool:
        """Whether all text below `message` is printable ASCII."""
        text = self.scalars(message)
        if not (text.isascii() and text.isprintable()):
            return False
        for name in self._lists:
            if not _is_plain("".join(getattr(message, name))):
                return False
        for check in self._children:  # noqa: SIM110 - a generator costs twice as much
            if not check(message):
                return False
        return True


@cache
def _scan_of(descriptor: Descriptor) -> _Scan:
    return _Scan(descriptor)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _reader(names: list[str]) -> Callable[[Any], str]:
    """All of a message's strings as one."""
    if not names:
        return lambda _: ""
    read: Callable[[Any], Any] = attrgetter(*names)
    return read if len(names) == 1 else lambda message: "".join(read(message))


def _child_check(field: FieldDescriptor, kind: Descriptor) -> Callable[[Any], bool]:
    name = field.name
    if kind.GetOptions().map_entry:
        return lambda message: _is_plain_map(kind, getattr(message, name))
    scan = _scan_of(kind)
    is_plain = scan.is_plain
    if field.is_repeated and scan.is_flat:
        return lambda message: _is_plain("".join(map(scan.scalars, getattr(message, name))))
    if not field.is_repeated:
        return lambda message: not message.HasField(name) or is_plain(getattr(message, name))
    return lambda message: all(map(is_plain, getattr(message, name)))


def _is_plain_map(entry: Descriptor, entries: Any) -> bool:
    if not entries:
        return True
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    if key.type == FieldDescriptor.TYPE_STRING and not _is_plain("".join(entries)):
        return False
    if value.type == FieldDescriptor.TYPE_STRING:
        return _is_plain("".join(entries.values()))
    return not value.message_type or all(
        map(_scan_of(value.message_type).is_plain, entries.values())
    )


def _has_text(kind: Descriptor) -> bool:
    """Whether a string is anywhere below a message of this type."""
    seen: set[str] = set()
    waiting = [kind]
    while waiting:
        descriptor = waiting.pop()
        if descriptor.full_name in seen:
            continue
        seen.add(descriptor.full_name)
        if any(one.type == FieldDescriptor.TYPE_STRING for one in descriptor.fields):
            return True
        waiting += [one.message_type for one in descriptor.fields if one.message_type]
    return False


def _normalised(message: Message, prefix: str) -> Iterator[Violation]:
    """Normalises below `message`, whose own path is `prefix`; what it refuses."""
    for field, value in message.ListFields():
        path, kind = prefix + field.name, field.message_type
        if kind and kind.GetOptions().map_entry:
            yield from _keys_normalised(value, path)
            yield from _items_normalised(kind.fields_by_name["value"], value, path)
        elif field.is_repeated:
            yield from _items_normalised(field, value, path)
        elif kind:
            yield from _normalised(value, f"{path}.")
        elif field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, _nfc(value))
            yield from _refusal(value, path)


def _items_normalised(field: FieldDescriptor, items: Any, path: str) -> Iterator[Violation]:
    """The elements of a list or the values of a map, of `field`'s type."""
    if not field.message_type and field.type != FieldDescriptor.TYPE_STRING:
        return
    for place in _places(items):
        item_path = f"{path}[{printable(str(place))}]"
        item = items[place]
        if field.message_type:
            yield from _normalised(item, f"{item_path}.")
        else:
            items[place] = _nfc(item)
            yield from _refusal(item, item_path)


def _places(items: Any) -> Iterable[Any]:
    return list(items) if hasattr(items, "keys") else range(len(items))


def _keys_normalised(entries: Any, path: str) -> Iterator[Violation]:
    """Two keys that become one are refused: which value was meant is not for us to say."""
    for key in [key for key in entries if isinstance(key, str)]:
        normal = _nfc(key)
        if normal != key:
            if normal in entries:
                yield f"{path}[{printable(normal)}]", "must not be the same key twice"
                continue
            _move(entries, key, normal)
        yield from _refusal(normal, f"{path}[{printable(normal)}]")


def _move(entries: Any, old: str, new: str) -> None:
    value = entries[old]
    if isinstance(value, Message):
        entries[new].CopyFrom(value)
    else:
        entries[new] = value
    del entries[old]


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _refusal(text: str, path: str) -> Iterator[Violation]:
    if found := _REFUSED.search(text):
        yield path, f"must not contain the control character U+{ord(found[0]):04X}"
