"""What this replica knows about the sources it publishes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from trackops_outbox_relay.domain.errors import SourceRefused
from trackops_outbox_relay.domain.standing import Standing

__all__ = ["OnPublished", "Progress", "SourceProgress"]

OnPublished = Callable[[str, float], None]
"""Told of each transaction its source and the seconds it took, in the thread that made it."""


@dataclass(frozen=True, slots=True)
class SourceProgress:
    """A source that is leased here."""

    standing: Standing | None = None
    """None until the place to start from was found."""
    refusal: SourceRefused | None = None
    """Why it stands still, where it does."""
    publish_seconds: float | None = None
    """What the last transaction took from begin to commit."""


class Progress:
    """The progress of every source that is leased here. Thread-safe."""

    def __init__(self, on_published: OnPublished = lambda _source, _seconds: None) -> None:
        self._on_published = on_published
        self._lock = threading.Lock()
        self._sources: dict[str, SourceProgress] = {}

    def of(self, source: str) -> SourceProgress | None:
        """None where the source is not leased here."""
        return self._sources.get(source)

    @contextmanager
    def leased(self, source: str) -> Iterator[None]:
        """The source is leased here for as long as this is open."""
        with self._lock:
            self._sources[source] = SourceProgress()
        try:
            yield
        finally:
            with self._lock:
                self._sources.pop(source, None)

    def reached(
        self, source: str, standing: Standing, *, publish_seconds: float | None = None
    ) -> None:
        """The standing was committed, or found committed."""
        with self._lock:
            self._sources[source] = SourceProgress(standing, publish_seconds=publish_seconds)
        if publish_seconds is not None:
            self._on_published(source, publish_seconds)

    def refused(self, source: str, refusal: SourceRefused) -> None:
        """The source stands still."""
        with self._lock:
            progress = self._sources.get(source, SourceProgress())
            self._sources[source] = replace(progress, refusal=refusal)
