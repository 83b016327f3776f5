"""Caches of orders in Redis, kept as by the service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

from trackops_cli.testing import wait_for
from trackops_common.testing import ManualClock
from trackops_order.adapters.redis_cache import RedisOrderCache


@contextmanager
def redis_cache(
    url: str, clock: ManualClock | None = None, **options: float
) -> Iterator[RedisOrderCache]:
    """One that is kept, as by the service."""
    stop = threading.Event()
    with closing(RedisOrderCache(url, clock=clock, **options)) as cache:
        keeper = threading.Thread(target=cache.keep, args=[stop])
        keeper.start()
        try:
            wait_for(lambda: cache.get([]).generation >= 0, seconds=10, what="the cache")
            yield cache
        finally:
            stop.set()
            keeper.join()
