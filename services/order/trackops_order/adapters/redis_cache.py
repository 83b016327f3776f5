"""Encoded orders in Redis, never older than what was committed.

An entry is `generation version expiry payload`, the first three as 8 bytes
each, the expiry in milliseconds since 1970. An empty payload is a mark: this
version was committed, ask Postgres. Version 0 has no payload either: no such
order. One script writes them all, and never replaces a newer version by an
older one, so a reader that was slow cannot bring back the past.

Whoever loses contact with Redis may have missed a mark, its own or another's,
and one that just started may have died before it made one. So it starts a new
generation before it reads again; entries of older generations count as absent.
A Redis that was restarted has forgotten the marks with all else: its first
generation is the time, so that what was read before is refused.
Entries live 30 s at most, unknown ids one second. See docs/order-cache.md.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import redis
import structlog

from trackops_common.clock import Clock, SystemClock
from trackops_common.traces import Kind, Span, span
from trackops_order.application.ports import CachedOrder, CacheSnapshot

__all__ = ["RedisOrderCache"]

_log = structlog.get_logger(__name__)

_HEADER = struct.Struct(">QQQ")
_LIFETIME_MILLISECONDS = 30_000
_UNKNOWN_LIFETIME_MILLISECONDS = 1_000
_CHECK_SECONDS = 0.25
_GENERATION_KEY = "trackops:order:generation"
_KEY_PREFIX = "trackops:order:"
_NOTHING = CacheSnapshot(generation=-1, entries={})

_PUT = """
local generation = tonumber(redis.call('GET', KEYS[1]) or '0')
local expected, now = tonumber(ARGV[1]), tonumber(ARGV[2])
if expected >= 0 and generation ~= expected then return #KEYS - 1 end
local refused = 0
for i = 2, #KEYS do
  local version, payload = tonumber(ARGV[2 * i + 1]), ARGV[2 * i + 2]
  local known = redis.call('GET', KEYS[i])
  local newer = true
  if known then
    local known_generation, known_version = struct.unpack('>I8I8', known)
    newer = known_generation < generation or known_version < version
      or (known_version == version and (payload ~= '' or #known == 24))
  end
  if newer then
    local lifetime = tonumber(version == 0 and ARGV[4] or ARGV[3])
    local header = struct.pack('>I8I8I8', generation, version, now + lifetime)
    redis.call('SET', KEYS[i], header .. payload, 'PX', lifetime)
  else
    refused = refused + 1
  end
end
return refused
"""
"""KEYS: generation, entries…
ARGV: expected generation or -1, now, lifetime, that of unknown ids, (version, payload)…
Returns how many were refused."""

_BUMP = """
local generation = redis.call('INCR', KEYS[1])
if generation > 1 then return generation end
redis.call('SET', KEYS[1], ARGV[1])
return tonumber(ARGV[1])
"""
"""KEYS: generation; ARGV: the time in milliseconds. Returns the new generation."""


class RedisOrderCache:
    """An `OrderCache`. It knows nothing until `check` has reached Redis, nor after a failure."""

    def __init__(
        self, url: str, *, clock: Clock | None = None, timeout_seconds: float = 0.25
    ) -> None:
        """Connects on first use. `clock` says how long entries have left."""
        self._redis: Any = redis.Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
        )
        self._clock = clock or SystemClock()
        self._put_script = self._redis.register_script(_PUT)
        self._bump_script = self._redis.register_script(_BUMP)
        self._lock = threading.Lock()
        self._losses = 1
        self._mended_losses = 0

    @property
    def sound(self) -> bool:
        """Whether Redis answered the last time, and what it holds may be believed."""
        return self._losses == self._mended_losses

    def get(self, order_ids: Sequence[UUID]) -> CacheSnapshot:
        if not self.sound:
            return _NOTHING
        try:
            with _span("MGET", len(order_ids)):
                generation, *values = self._redis.mget([_GENERATION_KEY, *map(_key, order_ids)])
            if generation is None:  # it was emptied, and nobody noticed
                return CacheSnapshot(self._start_generation(), {})
        except redis.RedisError as error:
            self._lost(error)
            return _NOTHING
        current = int(generation)
        return CacheSnapshot(
            current, _valid_entries(order_ids, values, current, self._milliseconds())
        )

    def put(self, generation: int, orders: Mapping[UUID, tuple[int, bytes]]) -> int:
        if generation >= 0 and orders and self.sound:
            return self._write(generation, orders)
        return 0

    def supersede(self, versions: Mapping[UUID, int]) -> None:
        """Tried also while Redis seems away: another replica may have found it again already."""
        if versions:
            self._write(-1, {order_id: (version, b"") for order_id, version in versions.items()})

    def keep(self, stop: threading.Event) -> None:
        """`check` now and every quarter of a second, until `stop` is set."""
        self.check()
        while not stop.wait(_CHECK_SECONDS):
            self.check()

    def check(self) -> None:
        """Make the cache sound if it is not and Redis answers; notice it if Redis does not.

        A replica without calls must notice too: others' marks may be lost in that time.
        """
        losses = self._losses
        try:
            if self.sound:
                self._redis.ping()
                return
            self._start_generation()
        except redis.RedisError as error:
            self._lost(error)
            return
        self._mended_losses = losses
        if losses > 1:
            _log.info("cache is back")

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _write(self, generation: int, orders: Mapping[UUID, tuple[int, bytes]]) -> int:
        lifetimes = (_LIFETIME_MILLISECONDS, _UNKNOWN_LIFETIME_MILLISECONDS)
        arguments: list[int | bytes] = [generation, self._milliseconds(), *lifetimes]
        for version, payload in orders.values():
            arguments += (version, payload)
        try:
            with _span("EVALSHA", len(orders)):
                refused: int = self._put_script(
                    keys=[_GENERATION_KEY, *map(_key, orders)], args=arguments
                )
        except redis.RedisError as error:
            self._lost(error)
            return 0
        return refused

    def _start_generation(self) -> int:
        started: int = self._bump_script(keys=[_GENERATION_KEY], args=[self._milliseconds()])
        return started

    def _milliseconds(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    def _lost(self, error: redis.RedisError) -> None:
        with self._lock:
            is_news = self.sound or self._losses == 1
            self._losses += 1
        if is_news:
            _log.warning("cache is away; orders are read from Postgres", error=str(error))


def _span(operation: str, orders: int) -> AbstractContextManager[Span | None]:
    return span(
        operation,
        Kind.CLIENT,
        {
            "db.system.name": "redis",
            "db.operation.name": operation,
            "db.operation.batch.size": orders,
        },
    )


def _key(order_id: UUID) -> str:
    return f"{_KEY_PREFIX}{order_id}"


def _valid_entries(
    order_ids: Sequence[UUID], values: Sequence[bytes | None], generation: int, now: int
) -> Mapping[UUID, CachedOrder]:
    entries = {}
    for order_id, value in zip(order_ids, values, strict=True):
        if value is not None:
            of_generation, version, expiry = _HEADER.unpack_from(value)
            payload = value[_HEADER.size :]
            if of_generation == generation and (payload or version == 0):
                entries[order_id] = CachedOrder(version, payload, (expiry - now) / 1000)
    return entries
