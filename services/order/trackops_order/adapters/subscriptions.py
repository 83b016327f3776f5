"""Who waits for news of which order, within one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

__all__ = ["Subscription", "Subscriptions"]


class Subscription:
    """A `Subscription` of the ports: it holds a version and a flag, and never a queue."""

    def __init__(self) -> None:
        self._heard = 0
        self._anything_possible = False
        self._changed = asyncio.Event()

    async def news(self, *, above: int) -> None:
        while self._heard <= above and not self._anything_possible:
            self._changed.clear()
            await self._changed.wait()
        self._anything_possible = False

    def hear(self, version: int) -> None:
        """The order has reached `version`."""
        self._heard = max(self._heard, version)
        self._changed.set()

    def doubt(self) -> None:
        """The order may have changed without a word."""
        self._anything_possible = True
        self._changed.set()


class Subscriptions:
    """All of them. Only `in` may be used from another thread."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, set[Subscription]] = {}

    def __contains__(self, key: object) -> bool:
        """Whether anybody waits for the order of this Kafka key."""
        return key in self._by_key

    def __len__(self) -> int:
        """Orders that are watched."""
        return len(self._by_key)

    @contextmanager
    def subscribe(self, order_id: UUID) -> Iterator[Subscription]:
        key = str(order_id).encode()
        subscription = Subscription()
        self._by_key.setdefault(key, set()).add(subscription)
        try:
            yield subscription
        finally:
            self._by_key[key].discard(subscription)
            if not self._by_key[key]:
                del self._by_key[key]

    def hear(self, versions: Mapping[bytes, int]) -> None:
        """Each of these orders has reached its version."""
        for key, version in versions.items():
            for subscription in self._by_key.get(key, ()):
                subscription.hear(version)

    def doubt_all(self) -> None:
        """Any order may have changed without a word."""
        for subscriptions in self._by_key.values():
            for subscription in subscriptions:
                subscription.doubt()
