"""Which sessions have ended, remembered in Redis.

Only that a session has ended is kept, which is true for ever. So an entry needs
no version and no mark, a Redis that was emptied or restarted has forgotten
nothing that Postgres does not say again, and none of its answers can be late.
That a session goes on is asked of Postgres each time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import redis
import structlog

from trackops_common.traces import redis_span
from trackops_identity.application.ports import SessionEnds

__all__ = ["CachedSessionEnds"]

_log = structlog.get_logger(__name__)

_LIFETIME_SECONDS = 24 * 3600
_PAUSE_SECONDS = 1.0
_KEY_PREFIX = "trackops:identity:ended:"


class CachedSessionEnds:
    """A `SessionEnds` before another one. Without Redis it is slower, and answers the same."""

    def __init__(
        self,
        plain: SessionEnds,
        url: str,
        *,
        timeout_seconds: float = 0.25,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects on first use; after a failure Redis is left alone for a second."""
        self._plain = plain
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds
        )
        self._monotonic = monotonic
        self._try_again = 0.0
        self._lock = threading.Lock()

    @property
    def sound(self) -> bool:
        """Whether Redis answered when it was last asked."""
        return self._try_again == 0.0

    def has_ended(self, session_id: UUID) -> bool:
        key = f"{_KEY_PREFIX}{session_id}"
        if self._ask("EXISTS", lambda: self._redis.exists(key)):
            return True
        ended = self._plain.has_ended(session_id)
        if ended:
            self._ask("SET", lambda: self._redis.set(key, b"", ex=_LIFETIME_SECONDS))
        return ended

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _ask(self, operation: str, question: Callable[[], Any]) -> bool:
        """Whether Redis says yes; False while it is away."""
        if self._monotonic() < self._try_again:
            return False
        try:
            with redis_span(operation):
                answer = bool(question())
        except redis.RedisError as error:
            self._lost(error)
            return False
        self._found()
        return answer

    def _lost(self, error: redis.RedisError) -> None:
        with self._lock:
            was_sound, self._try_again = self.sound, self._monotonic() + _PAUSE_SECONDS
        if was_sound:
            _log.warning("sessions are read from Postgres alone", error=str(error))

    def _found(self) -> None:
        with self._lock:
            was_sound, self._try_again = self.sound, 0.0
        if not was_sound:
            _log.info("Redis is back")
