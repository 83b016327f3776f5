"""Texts that did harm somewhere, and what a page or a terminal must never get to see of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["INERT", "REFUSED", "SURROGATE", "TEXTS", "harmful"]

INERT: Mapping[str, str] = {
    "script": "<script>alert(1)</script>",
    "attribute": "\"><img src=x onerror=alert(1)> ' javascript:alert(1)",
    "sql": "'); DROP TABLE orders; -- %s %(id)s {0} ${jndi:ldap://x/y}",
    "markup": "[bold red]x[/bold red] [link=http://x]y[/link] [/]",
    "json": '{"a": "\\u0000", "b": [}',
    "emoji": "\U0001f4a9 \U0001f469\u200d\U0001f680",
    "composed": "Zu\u0308rich e\u0301 \u1e9b\u0323 \u212b",
    "right to left": "\u05d0\u05d1 \u0627\u0644 abc",
    "private and unassigned": "\ue000 \U000e0001 \ufffe\uffff",
    "zalgo": "Z" + "\u0335\u0321\u0357" * 8,
}
"""Ugly, and still text: it may be kept, and then comes back as it is but for NFC."""

REFUSED: Mapping[str, str] = {
    "header": "a\r\nset-cookie: b=c",
    "line": '{"event": "x"}\n{"event": "forged", "level": "info"}',
    "separators": "a\u2028b\u2029c",
    "terminal": "\x1b[2J\x1b]0;title\x07 \x1b[31mred",
    "C1 terminal": "\x9b2J \x85",
    "bidirectional": "abc\u202etxt.exe\u202c \u2066x\u2069",
    "NUL": "a\x00b",
    "backspaces": "safe\x08\x08\x08\x08evil\x7f",
}
"""They steer whatever shows them; a field that has one is named in a refusal."""

TEXTS: Mapping[str, str] = {**INERT, **REFUSED, "overlong": "long " * 1_000}

SURROGATE = b"a\xed\xa0\x80b"
"""A lone surrogate as UTF-8 cannot have it, for where the transport takes bytes."""

_HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def harmful(text: str) -> str:
    """The first character that would steer a terminal or break a line, as its escape; else empty.

    The ends of lines are not: who prints a table has them.
    """
    found = _HARMFUL.search(text)
    return ascii(found[0]) if found else ""
