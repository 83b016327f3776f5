"""What a cache of orders in Redis promises beyond what every cache does: replicas, outages."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from trackops_common.testing import TcpLink
from trackops_order.adapters.redis_cache import RedisOrderCache

from .redis_caches import redis_cache

ORDER, OTHER = uuid.uuid4(), uuid.uuid4()


@pytest.fixture
def replicas(redis_url: str) -> Iterator[tuple[RedisOrderCache, RedisOrderCache]]:
    """Two on the same Redis."""
    with redis_cache(redis_url) as one, redis_cache(redis_url) as other:
        yield one, other


def test_replicas_see_each_others_entries_and_marks(
    replicas: tuple[RedisOrderCache, RedisOrderCache],
) -> None:
    one, other = replicas
    generation = one.get([]).generation
    one.put(generation, {ORDER: (1, b"one")})
    assert other.get([ORDER]).entries[ORDER].encoded == b"one"

    other.supersede({ORDER: 2})

    assert one.get([ORDER]).entries == {}


def test_a_replica_that_starts_hides_everything_from_before(
    replicas: tuple[RedisOrderCache, RedisOrderCache], redis_url: str
) -> None:
    """It may have died between a commit and its mark."""
    one, _ = replicas
    before = one.get([]).generation
    one.put(before, {ORDER: (1, b"one")})

    with redis_cache(redis_url):
        assert one.get([ORDER]).generation == before + 1
        assert one.get([ORDER]).entries == {}


def test_a_replica_without_calls_notices_that_redis_was_away(
    redis_link: TcpLink, linked_redis_url: str
) -> None:
    """Another one's mark may have been missed in that time."""
    with closing(RedisOrderCache(linked_redis_url)) as cache:
        cache.check()
        before = cache.get([]).generation
        redis_link.cut()
        cache.check()
        redis_link.restore()
        cache.check()

        assert cache.get([]).generation == before + 1


def test_a_mark_is_made_as_soon_as_redis_is_back(
    redis_link: TcpLink, linked_redis_url: str, redis_url: str
) -> None:
    """Another replica may have found it again, and put what the mark supersedes."""
    with redis_cache(redis_url) as other, closing(RedisOrderCache(linked_redis_url)) as cache:
        redis_link.cut()
        cache.check()
        redis_link.restore()
        other.put(other.get([]).generation, {ORDER: (1, b"one")})

        cache.supersede({ORDER: 2})

        assert other.get([ORDER]).entries == {}


def test_entries_do_not_live_longer_than_promised(
    replicas: tuple[RedisOrderCache, RedisOrderCache], redis_url: str
) -> None:
    one, _ = replicas
    unknown = uuid.uuid4()
    one.put(one.get([]).generation, {ORDER: (1, b"one"), unknown: (0, b"")})
    one.supersede({OTHER: 2})

    with redis.Redis.from_url(redis_url) as client:
        lives = [client.pttl(f"trackops:order:{one}") for one in (ORDER, OTHER, unknown)]
    limits = [30_000, 30_000, 1_000]
    assert all(0 < life <= limit for life, limit in zip(lives, limits, strict=True))


def test_a_redis_that_lost_its_memory_refuses_what_was_read_before(
    replicas: tuple[RedisOrderCache, RedisOrderCache], redis_url: str
) -> None:
    """The mark of a newer version was lost with all else."""
    one, other = replicas
    before = one.get([ORDER]).generation
    other.supersede({ORDER: 2})
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert other.get([]).generation > before

    one.put(before, {ORDER: (1, b"one")})

    assert other.get([ORDER]).entries == {}


def test_a_mark_missed_while_another_is_mended_is_mended_too(
    redis_link: TcpLink, linked_redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(RedisOrderCache(linked_redis_url)) as cache:
        cache.check()
        before = cache.get([]).generation
        redis_link.cut()
        cache.supersede({ORDER: 2})
        redis_link.restore()
        bump = cache._bump_script

        def bump_while_another_mark_is_missed(**arguments: Any) -> Any:
            generation = bump(**arguments)
            redis_link.cut()
            cache.supersede({OTHER: 2})
            redis_link.restore()
            return generation

        monkeypatch.setattr(cache, "_bump_script", bump_while_another_mark_is_missed)
        cache.check()
        assert cache.get([]).generation < 0
        monkeypatch.setattr(cache, "_bump_script", bump)
        cache.check()

        assert cache.get([]).generation == before + 2


def test_a_redis_that_is_away_costs_little_time(redis_link: TcpLink, linked_redis_url: str) -> None:
    redis_link.cut()
    with closing(RedisOrderCache(linked_redis_url)) as cache:
        started = time.monotonic()
        for _ in range(100):
            cache.get([ORDER])
            cache.supersede({ORDER: 2})

    assert time.monotonic() - started < 2


def test_a_redis_that_hangs_costs_a_mark_its_timeout_and_a_read_nothing() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        closing(
            RedisOrderCache(
                f"redis://127.0.0.1:{listener.getsockname()[1]}/0", timeout_seconds=0.25
            )
        ) as cache,
    ):
        cache.check()
        started = time.monotonic()
        cache.supersede({ORDER: 2})
        for _ in range(100):
            cache.get([ORDER])

    assert time.monotonic() - started < 2
