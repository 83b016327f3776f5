"""Encoded orders in Redis, never older than what was committed.

An entry is `generation version payload`, the first two as 8 bytes each. An
empty payload is a mark: this version was committed, ask Postgres. Two scripts
keep the order: neither ever replaces a newer version by an older one, so a
reader that was slow cannot bring back the past.

Whoever fails to mark a commit (Redis was away) leaves an old entry behind, so
it starts a new generation before it reads again; entries of older generations
count as absent. A Redis that was restarted has forgotten the marks with all
else: its first generation is the time, so that what was read before is refused.
Entries live 30 s at most.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import redis
import structlog

from trackops_order.application.ports import CacheSnapshot

__all__ = ["RedisOrderCache"]

_log = structlog.get_logger(__name__)

_HEADER = struct.Struct(">QQ")
_TTL_MILLISECONDS = 30_000
_RETRY_SECONDS = 1.0
_GENERATION_KEY = "trackops:order:generation"
_KEY_PREFIX = "trackops:order:"

_PUT = """
local generation = tonumber(redis.call('GET', KEYS[1]) or '0')
local expected = tonumber(ARGV[1])
if expected >= 0 and generation ~= expected then return 0 end
for i = 2, #KEYS do
  local version, payload = tonumber(ARGV[2 * i - 1]), ARGV[2 * i]
  local known = redis.call('GET', KEYS[i])
  local newer = true
  if known then
    local known_generation, known_version = struct.unpack('>I8I8', known)
    newer = known_generation < generation or known_version < version
      or (known_version == version and #known == 16)
  end
  if newer then
    redis.call('SET', KEYS[i], struct.pack('>I8I8', generation, version) .. payload, 'PX', ARGV[2])
  end
end
return 1
"""
"""KEYS: generation, entries…; ARGV: expected generation or -1, lifetime, (version, payload)…"""

_BUMP = """
if redis.call('INCR', KEYS[1]) == 1 then redis.call('SET', KEYS[1], ARGV[1]) end
"""
"""KEYS: generation; ARGV: the time in milliseconds."""


class RedisOrderCache:
    """An `OrderCache`. Without Redis it knows nothing, and tries again after a second."""

    def __init__(self, url: str, *, timeout_seconds: float = 0.25) -> None:
        """Connects on first use."""
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds
        )
        self._put_script = self._redis.register_script(_PUT)
        self._lock = threading.Lock()
        self._away_until = 0.0
        self._bump_script = self._redis.register_script(_BUMP)
        self._missed_marks = 0
        self._mended_marks = 0

    def get(self, order_ids: Sequence[UUID]) -> CacheSnapshot:
        nothing = CacheSnapshot(generation=-1, entries={})
        if self._is_away() or not self._generation_is_sound():
            return nothing
        try:
            generation, *values = self._redis.mget([_GENERATION_KEY, *map(_key, order_ids)])
        except redis.RedisError as error:
            self._went_away(error)
            return nothing
        if generation is None:
            self._start_generation()
            return nothing
        current = int(generation)
        return CacheSnapshot(current, _valid_entries(order_ids, values, current))

    def put(self, generation: int, orders: Mapping[UUID, tuple[int, bytes]]) -> None:
        if generation >= 0 and orders and not self._is_away():
            self._write(generation, orders)

    def supersede(self, versions: Mapping[UUID, int]) -> None:
        if not versions:
            return
        marks = {order_id: (version, b"") for order_id, version in versions.items()}
        if self._is_away() or not self._write(-1, marks):
            with self._lock:
                self._missed_marks += 1

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _write(self, generation: int, orders: Mapping[UUID, tuple[int, bytes]]) -> bool:
        arguments: list[int | bytes] = [generation, _TTL_MILLISECONDS]
        for version, payload in orders.values():
            arguments += (version, payload)
        try:
            self._put_script(keys=[_GENERATION_KEY, *map(_key, orders)], args=arguments)
        except redis.RedisError as error:
            self._went_away(error)
            return False
        return True

    def _generation_is_sound(self) -> bool:
        """Start a new generation where a mark was missed; whether reads may go on."""
        if self._missed_marks == self._mended_marks:
            return True
        with self._lock:
            missed = self._missed_marks
            if not self._start_generation():
                return False
            self._mended_marks = missed
            return True

    def _start_generation(self) -> bool:
        try:
            self._bump_script(keys=[_GENERATION_KEY], args=[time.time_ns() // 1_000_000])
        except redis.RedisError as error:
            self._went_away(error)
            return False
        return True

    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    def _went_away(self, error: redis.RedisError) -> None:
        self._away_until = time.monotonic() + _RETRY_SECONDS
        _log.warning("cache is away; orders are read from Postgres", error=str(error))


def _key(order_id: UUID) -> str:
    return f"{_KEY_PREFIX}{order_id}"


def _valid_entries(
    order_ids: Sequence[UUID], values: Sequence[bytes | None], generation: int
) -> Mapping[UUID, bytes]:
    return {
        order_id: value[_HEADER.size :]
        for order_id, value in zip(order_ids, values, strict=True)
        if value is not None
        and len(value) > _HEADER.size
        and _HEADER.unpack_from(value)[0] == generation
    }
