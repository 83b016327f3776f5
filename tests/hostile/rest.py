"""HTTP requests for the edge that are wrong in some way, made from a valid message."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from trackops_edge.contract import EdgeRpc

from .texts import TEXTS

__all__ = ["Request", "damaged_request"]

Rng = random.Random

VALUES: Sequence[Any] = (
    *TEXTS.values(),
    *("", "NaN", "Infinity", "1e400", "0x10", "9223372036854775808", "-9223372036854775809"),
    *(None, True, False, 0, -1, 1.5, 2**31, 2**63, 2**64, 10**400, 1e308, float("nan")),
    *([], {}, [[]], [None], {"a": {"b": []}}, {"@type": "type.googleapis.com/x"}),
    "\ud800 lone",
    "x" * 70_000,
    ["x"] * 1_001,
)
_LARGE = 2 * 2**20
"""Bytes: more than the edge takes."""

_VARIABLE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Request:
    """One line of HTTP and what follows."""

    verb: str
    path: str
    """With the query."""
    body: bytes | None


def damaged_request(rpc: EdgeRpc, message: Message, rng: Rng) -> Request:
    """The RPC over REST with up to three faults; now and then with none."""
    fields: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    faults = rng.choice((0, 1, 1, 1, 1, 2, 3))
    for _ in range(faults):
        _damage(fields, rng)
    path = _VARIABLE.sub(lambda found: _segment(fields.pop(found[1], ""), rng), rpc.template)
    if rpc.verb == "GET":
        return Request("GET", f"{path}?{_query(fields)}" if fields else path, None)
    text = json.dumps(fields).encode("ascii")
    return Request("POST", path, rng.choice(_TEXT)(text, rng) if faults else text)


def _damage(tree: Any, rng: Rng) -> None:
    """One fault somewhere in it, in place."""
    places = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    if not places:
        return
    place = rng.choice(places)
    inner = tree[place]
    if isinstance(inner, dict | list) and inner and rng.random() < 0.75:
        _damage(inner, rng)
    else:
        rng.choice(_FAULTS)(tree, place, rng)


def _replace(tree: Any, place: Any, rng: Rng) -> None:
    tree[place] = deepcopy(rng.choice(VALUES))  # a later fault may be inside it


def _deepen(tree: Any, place: Any, rng: Rng) -> None:
    for _ in range(rng.choice((1, 50, 200))):
        tree[place] = rng.choice(([tree[place]], {"a": tree[place]}))


def _rename(tree: Any, place: Any, rng: Rng) -> None:
    if isinstance(tree, dict):
        tree[rng.choice((*TEXTS.values(), "", "__proto__", "order_id"))] = tree.pop(place)
    else:
        tree.pop(place)


def _many(tree: Any, place: Any, rng: Rng) -> None:
    size = 1 + len(str(tree[place]))
    tree[place] = [tree[place]] * min(rng.choice((0, 2, 65, 501)), 2 + _LARGE // size)


def _drop(tree: Any, place: Any, _rng: Rng) -> None:
    tree.pop(place)


_FAULTS: Sequence[Callable[[Any, Any, Rng], None]] = (
    *([_replace] * 6),
    *(_deepen, _rename, _many, _drop),
)


def _segment(value: Any, rng: Rng) -> str:
    """A variable of the path, escaped for the most part."""
    text = value if isinstance(value, str) else json.dumps(value)
    escaped = quote(text.encode(errors="surrogatepass"), safe="")[:2_000]
    return rng.choice((*([escaped] * 12), f"{escaped}/", "%2e%2e%2f", "%00", "%", "%zz", "%ff"))


def _query(fields: dict[str, Any]) -> str:
    flat = [(name, one) for name, value in fields.items() for one in _as_list(value)][:100]
    shown = [(name[:200], one if isinstance(one, str) else json.dumps(one)) for name, one in flat]
    return urlencode([(name, one[:1_000]) for name, one in shown], errors="surrogatepass")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _overwritten(text: bytes, rng: Rng) -> bytes:
    made = bytearray(text)
    made[rng.randrange(len(made))] = rng.randrange(256)
    return bytes(made)


_TEXT: Sequence[Callable[[bytes, Rng], bytes]] = (
    *([lambda text, _: text] * 12),
    lambda text, rng: text[: rng.randrange(len(text) + 1)],
    lambda text, _: text * 2,
    lambda text, _: b"\xef\xbb\xbf" + text,
    lambda text, _: b"[" * 10_000 + text,
    lambda text, _: text.replace(b"{", b'{"request_id": "x", ', 1),
    lambda _, rng: rng.randbytes(100),
    lambda _, __: b"",
    _overwritten,
)
