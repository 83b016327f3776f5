"""What every cache of orders promises, whether it stands in memory or in Redis."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from trackops_cli.testing import wait_for
from trackops_common.testing import ManualClock, TcpLink
from trackops_order.application.ports import CachedOrder, OrderCache
from trackops_order.testing import InMemoryOrderCache

from .redis_caches import redis_cache

ORDER, OTHER = uuid.uuid4(), uuid.uuid4()

NASTY = b"\x00\xff\r\n$5\r\n" + bytes(range(256))


@dataclass(frozen=True)
class Cached:
    cache: OrderCache
    cut: Callable[[], None]
    restore: Callable[[], None]
    age: Callable[[float], None]
    """Lets the entries get older by some seconds, as far as the cache's own clock tells."""

    def generation(self) -> int:
        """Of a cache that answers, which may take a moment."""
        wait_for(lambda: self.cache.get([]).generation >= 0, seconds=10, what="the cache")
        return self.cache.get([]).generation

    def entry(self) -> CachedOrder | None:
        return self.cache.get([ORDER]).entries.get(ORDER)

    def known(self) -> bytes | None:
        entry = self.entry()
        return entry.encoded if entry else None

    def put(self, version: int, payload: bytes) -> int:
        return self.cache.put(self.generation(), {ORDER: (version, payload)})


@pytest.fixture(params=["in memory", "Redis"])
def cached(request: pytest.FixtureRequest) -> Iterator[Cached]:
    clock = ManualClock()

    def age(seconds: float) -> None:
        clock.advance(seconds=seconds)

    if request.param == "in memory":
        fake = InMemoryOrderCache(clock)
        yield Cached(fake, fake.cut, fake.restore, age)
        return
    link: TcpLink = request.getfixturevalue("redis_link")
    with redis_cache(request.getfixturevalue("linked_redis_url"), clock) as real:
        yield Cached(real, link.cut, link.restore, age)


def test_what_was_put_is_there_byte_for_byte(cached: Cached) -> None:
    generation = cached.generation()

    cached.cache.put(generation, {ORDER: (1, NASTY), OTHER: (7, b"other")})

    snapshot = cached.cache.get([ORDER, uuid.uuid4(), OTHER])
    assert snapshot.entries == {ORDER: (1, NASTY, 30), OTHER: (7, b"other", 30)}
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


def test_an_older_version_never_replaces_a_newer_one(cached: Cached) -> None:
    cached.put(2, b"two")
    cached.put(1, b"late")

    assert cached.known() == b"two"


def test_what_is_refused_is_counted(cached: Cached) -> None:
    assert [cached.put(version, b"it") for version in (2, 2, 3, 1)] == [0, 0, 0, 1]
    generation = cached.generation()
    assert cached.cache.put(generation, {ORDER: (2, b"two"), OTHER: (1, b"one")}) == 1
    assert cached.cache.put(generation - 1, {ORDER: (4, b"four"), OTHER: (2, b"two")}) == 2
    assert cached.cache.put(-1, {ORDER: (9, b"nine")}) == 0


def test_an_entry_says_how_long_it_lives_and_the_same_version_again_renews_it(
    cached: Cached,
) -> None:
    cached.put(2, b"two")
    cached.age(20)
    assert cached.entry() == (2, b"two", 10)

    cached.put(2, b"two, read again")

    assert cached.entry() == (2, b"two, read again", 30)


def test_an_id_is_known_as_unknown(cached: Cached) -> None:
    cached.put(0, b"")

    assert cached.entry() == (0, b"", 1)


def test_an_unknown_id_is_soon_forgotten(cached: Cached) -> None:
    cached.put(0, b"")
    cached.age(1)

    wait_for(lambda: cached.entry() is None, seconds=5)


def test_an_order_that_is_created_is_not_unknown_any_more(cached: Cached) -> None:
    generation = cached.generation()
    cached.put(0, b"")

    cached.cache.supersede({ORDER: 1})
    assert cached.entry() is None
    cached.cache.put(generation, {ORDER: (0, b"")})  # by one who looked before it was created
    assert cached.entry() is None
    cached.put(1, b"one")
    assert cached.known() == b"one"


def test_an_order_that_is_cached_does_not_become_unknown(cached: Cached) -> None:
    cached.put(1, b"one")

    cached.put(0, b"")

    assert cached.known() == b"one"


def test_an_order_is_put_where_it_was_unknown(cached: Cached) -> None:
    cached.put(0, b"")

    cached.put(1, b"one")

    assert cached.known() == b"one"


def test_a_mark_of_the_cached_version_changes_nothing(cached: Cached) -> None:
    cached.put(2, b"two")

    cached.cache.supersede({ORDER: 2})

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


def test_a_cache_comes_back_by_itself_without_what_it_knew(cached: Cached) -> None:
    """Marks were missed by others too, who cannot tell."""
    cached.put(1, b"one")
    before = cached.generation()
    cached.cut()
    assert cached.known() is None

    cached.restore()

    assert cached.generation() > before
    assert cached.known() is None
    cached.put(1, b"one")
    assert cached.known() == b"one"


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
