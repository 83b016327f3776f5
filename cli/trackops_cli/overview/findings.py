"""What a check finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Finding", "fine", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    area: str
    """"settings", "servers", "schemas", "topics", "rights", "services" or "work"."""
    what: str
    todo: str = ""
    """What to do about it; empty where all is well."""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to do."""
        return not self.todo

    def document(self) -> Mapping[str, Any]:
        """For programs."""
        return {"area": self.area, "ok": self.ok, "what": self.what, "todo": self.todo}


def fine(area: str, what: str) -> Finding:
    """Nothing to do."""
    return Finding(area, what)


def wrong(area: str, what: str, todo: str) -> Finding:
    """Somebody has to do something."""
    return Finding(area, what, todo)
