"""What the simulated provider did."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Books", "Entry", "Operation"]

Operation = Literal["authorize", "capture", "void", "refund"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing done, or declined."""

    operation: Operation
    authorization_id: str
    amount_minor: int
    decline_code: str | None = None


class Books:
    """One entry for each idempotency key; the oldest are forgotten. Thread-safe."""

    def __init__(self, *, limit: int = 10_000) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._limit = limit
        self._lock = threading.Lock()

    def once(self, key: str, entry: Entry) -> tuple[Entry, bool]:
        """What stands under `key`, which is `entry` if nothing did, and whether it is new."""
        with self._lock:
            standing = self._entries.setdefault(key, entry)
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)
        return standing, standing is entry

    @property
    def entries(self) -> Sequence[Entry]:
        """What was done or declined, oldest first."""
        with self._lock:
            return list(self._entries.values())

    @property
    def by_key(self) -> Mapping[str, Entry]:
        """The same, by idempotency key."""
        with self._lock:
            return dict(self._entries)

    def done(self, operation: Operation, authorization_id: str = "") -> Sequence[Entry]:
        """What was done and not declined: of one authorization, or of all."""
        return [
            entry
            for entry in self.entries
            if entry.operation == operation
            and authorization_id in ("", entry.authorization_id)
            and entry.decline_code is None
        ]

    def moved(self, operation: Operation, authorization_id: str = "") -> int:
        """The sum of `done`, in minor units."""
        return sum(entry.amount_minor for entry in self.done(operation, authorization_id))
