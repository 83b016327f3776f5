"""What every cache of orders promises, whether it stands in memory or in Redis."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from trackops_cli.testing import wait_for
from trackops_common.testing import TcpLink
from trackops_order.adapters.redis_cache import RedisOrderCache
from trackops_order.application.ports import OrderCache
from trackops_order.testing import InMemoryOrderCache

ORDER, OTHER = uuid.uuid4(), uuid.uuid4()
NASTY = b"\x00\xff\r\n$5\r\n" + bytes(range(256))


@dataclass(frozen=True)
class Cached:
    cache: OrderCache
    cut: Callable[[], None]
    restore: Callable[[], None]

    def generation(self) -> int:
        """Of a cache that answers, which may take a moment."""
        wait_for(lambda: self.cache.get([]).generation >= 0, seconds=10, what="the cache")
        return self.cache.get([]).generation

    def known(self) -> bytes | None:
        return self.cache.get([ORDER]).entries.get(ORDER)

    def put(self, version: int, payload: bytes) -> None:
        self.cache.put(self.generation(), {ORDER: (version, payload)})


@pytest.fixture(params=["in memory", "Redis"])
def cached(request: pytest.FixtureRequest) -> Iterator[Cached]:
    if request.param == "in memory":
        fake = InMemoryOrderCache()
        yield Cached(fake, fake.cut, fake.restore)
        return
    link: TcpLink = request.getfixturevalue("redis_link")
    with closing(RedisOrderCache(f"redis://127.0.0.1:{link.port}/0")) as real:
        yield Cached(real, link.cut, link.restore)


def test_what_was_put_is_there_byte_for_byte(cached: Cached) -> None:
    generation = cached.generation()

    cached.cache.put(generation, {ORDER: (1, NASTY), OTHER: (7, b"other")})

    snapshot = cached.cache.get([ORDER, uuid.uuid4(), OTHER])
    assert snapshot.entries == {ORDER: NASTY, OTHER: b"other"}
    assert snapshot.generation == generation


def test_nothing_is_asked_put_and_superseded(cached: Cached) -> None:
    generation = cached.generation()

    cached.cache.put(generation, {})
    cached.cache.supersede({})

    assert cached.cache.get([]).entries == {}
    assert cached.generation() == generation


def test_a_newer_version_replaces_an_older_one(cached: Cached) -> None:
    cached.put(1, b"one")
    cached.put(2, b"two")

    assert cached.known() == b"two"


@pytest.mark.parametrize("late", [1, 2])
def test_an_older_or_equal_version_never_replaces_a_newer_one(cached: Cached, late: int) -> None:
    cached.put(2, b"two")
    cached.put(late, b"late")

    assert cached.known() == b"two"


def test_versions_compare_as_numbers(cached: Cached) -> None:
    cached.put(9, b"nine")
    cached.put(10, b"ten")
    cached.put(9, b"nine")

    assert cached.known() == b"ten"


def test_a_superseded_version_is_forgotten_and_refused(cached: Cached) -> None:
    cached.put(1, b"one")

    cached.cache.supersede({ORDER: 2})
    assert cached.known() is None
    cached.put(1, b"one, by a slow reader")
    assert cached.known() is None
    cached.put(2, b"two")
    assert cached.known() == b"two"


def test_a_version_that_was_never_put_can_be_superseded(cached: Cached) -> None:
    generation = cached.generation()
    cached.cache.supersede({ORDER: 2})

    cached.cache.put(generation, {ORDER: (1, b"one, by a slow reader")})

    assert cached.known() is None


def test_a_late_mark_does_not_forget_a_newer_version(cached: Cached) -> None:
    cached.put(3, b"three")

    cached.cache.supersede({ORDER: 2})

    assert cached.known() == b"three"


def test_a_cache_that_is_away_knows_nothing_and_raises_nothing(cached: Cached) -> None:
    generation = cached.generation()
    cached.put(1, b"one")
    cached.cut()

    snapshot = cached.cache.get([ORDER])
    cached.cache.put(generation, {OTHER: (1, b"x")})
    cached.cache.supersede({OTHER: 1})

    assert snapshot.entries == {}
    assert snapshot.generation < 0


def test_a_cache_comes_back_by_itself_with_what_it_knew(cached: Cached) -> None:
    cached.put(1, b"one")
    cached.cut()
    assert cached.known() is None

    cached.restore()

    wait_for(lambda: cached.known() == b"one", seconds=10)


def test_a_mark_that_was_missed_hides_everything_from_before(cached: Cached) -> None:
    cached.put(1, b"one")
    before = cached.generation()
    cached.cut()
    cached.cache.supersede({ORDER: 2})
    cached.restore()

    assert cached.generation() != before
    assert cached.known() is None
    cached.cache.put(before, {ORDER: (1, b"one, read before the change")})
    assert cached.known() is None
    cached.put(1, b"whatever Postgres has now")
    assert cached.known() == b"whatever Postgres has now"


def test_a_put_of_what_was_read_without_the_cache_is_refused(cached: Cached) -> None:
    cached.cut()
    generation = cached.cache.get([ORDER]).generation
    cached.restore()
    cached.generation()

    cached.cache.put(generation, {ORDER: (1, b"one")})

    assert cached.known() is None


@pytest.fixture
def replicas(redis_url: str) -> Iterator[tuple[RedisOrderCache, RedisOrderCache]]:
    """Two on the same Redis, which has a generation already."""
    with closing(RedisOrderCache(redis_url)) as one, closing(RedisOrderCache(redis_url)) as other:
        one.get([])
        yield one, other


def test_replicas_see_each_others_entries_and_marks(
    replicas: tuple[RedisOrderCache, RedisOrderCache],
) -> None:
    one, other = replicas
    generation = one.get([]).generation
    one.put(generation, {ORDER: (1, b"one")})
    assert other.get([ORDER]).entries == {ORDER: b"one"}

    other.supersede({ORDER: 2})

    assert one.get([ORDER]).entries == {}


def test_entries_do_not_live_longer_than_promised(
    replicas: tuple[RedisOrderCache, RedisOrderCache], redis_url: str
) -> None:
    one, _ = replicas
    one.put(one.get([]).generation, {ORDER: (1, b"one")})
    one.supersede({OTHER: 2})

    with redis.Redis.from_url(redis_url) as client:
        lifetimes = [client.pttl(f"trackops:order:{order_id}") for order_id in (ORDER, OTHER)]
    assert all(0 < lifetime <= 30_000 for lifetime in lifetimes)


def test_a_redis_that_lost_its_memory_refuses_what_was_read_before(
    replicas: tuple[RedisOrderCache, RedisOrderCache], redis_url: str
) -> None:
    """The mark of a newer version was lost with all else."""
    one, other = replicas
    before = one.get([ORDER]).generation
    other.supersede({ORDER: 2})
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    wait_for(lambda: other.get([]).generation >= 0, seconds=5)

    one.put(before, {ORDER: (1, b"one")})

    assert other.get([ORDER]).entries == {}


def test_a_mark_missed_while_another_is_mended_is_mended_too(
    redis_link: TcpLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trackops_order.adapters.redis_cache._RETRY_SECONDS", 0)
    with closing(RedisOrderCache(f"redis://127.0.0.1:{redis_link.port}/0")) as cache:
        before = Cached(cache, redis_link.cut, redis_link.restore).generation()
        redis_link.cut()
        cache.supersede({ORDER: 2})
        redis_link.restore()
        bump = cache._bump_script
        another = threading.Thread(target=cache.supersede, args=[{OTHER: 2}])

        def bump_while_another_mark_is_missed(**arguments: Any) -> None:
            bump(**arguments)
            redis_link.cut()
            another.start()
            another.join(0.2)
            redis_link.restore()

        monkeypatch.setattr(cache, "_bump_script", bump_while_another_mark_is_missed)
        cache.get([])
        monkeypatch.setattr(cache, "_bump_script", bump)
        another.join()

        assert cache.get([]).generation == before + 2


def test_a_redis_that_is_away_costs_little_time(redis_link: TcpLink) -> None:
    redis_link.cut()
    with closing(RedisOrderCache(f"redis://127.0.0.1:{redis_link.port}/0")) as cache:
        started = time.monotonic()
        for _ in range(100):
            cache.get([ORDER])
            cache.supersede({ORDER: 2})

    assert time.monotonic() - started < 2
