"""The facts of a run, read from everywhere once the mesh has come to rest."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

import psutil
import psycopg2
import redis
from trackops.order.v1.order_service_pb2 import GetOrderResponse

from trackops_payment.testing import API_KEY

from .checker import from_postgres as postgres
from .checker import log, money, orders
from .checker.facts import CacheEntry, Facts, Violation, Vitals
from .checker.from_kafka import read_topics
from .checker.from_logs import find_secrets, read_errors
from .checker.health import REST_SECONDS
from .faults import Windows
from .history import History
from .observer import oddities
from .plans import STOCK
from .shop import state_of
from .world import World

__all__ = ["facts_at_rest", "watched_vitals"]

_SETTLE_SECONDS = 20.0
_HEADER = struct.Struct(">QQQ")
_PREFIX = "trackops:order:"
_SAMPLE_SECONDS = 4.0
_pause = threading.Event().wait

_SIGNS_OF_UNREST = (
    orders.every_order_at_rest,
    orders.every_saga_ended,
    money.payments_match_orders,
    log.outboxes_published,
    log.consumers_at_the_end,
)


def facts_at_rest(
    world: World, history: History, windows: Windows, vitals: Sequence[Vitals]
) -> Facts:
    """What is so once nothing moves any more, or when the time for that is over."""
    began = time.monotonic()
    known = Facts(history=history, stocked=STOCK)
    while True:
        _wait_until_quiet(world, began + REST_SECONDS)
        passed = time.monotonic() - began  # what is read is as of now, however long that takes
        facts = _read_servers(world, known)
        if not _unrest(facts) or passed > REST_SECONDS:
            return _with_processes(world, facts, windows, vitals, passed)
        _pause(1)


def _unrest(facts: Facts) -> Violation | None:
    return next((one for sign in _SIGNS_OF_UNREST for one in sign(facts)), None)


def _wait_until_quiet(world: World, give_up: float) -> None:
    with closing(psycopg2.connect(world.stack.admin_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not postgres.is_quiet(cursor) and time.monotonic() < give_up:
                _pause(0.2)


def _with_processes(
    world: World, facts: Facts, windows: Windows, vitals: Sequence[Vitals], passed: float
) -> Facts:
    home = world.stack.context.home
    secrets = {**home.passwords([]), "the provider's key": API_KEY}

    def excused(at: float) -> bool:
        return windows.cover(at, settle_seconds=_SETTLE_SECONDS)

    return replace(
        facts,
        errors=read_errors(world.logs, excused),
        leaks=find_secrets([world.logs, home.logs], secrets),
        deaths=[f"{one.replica} with {one.status}: {one.last_lines}" for one in world.deaths],
        vitals=vitals,
        clean_up_seconds=passed,
    )


def _read_servers(world: World, known: Facts) -> Facts:
    """Postgres as of one moment, and then the others."""
    with (
        closing(psycopg2.connect(world.stack.admin_url)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        facts = replace(
            known,
            ledger=world.books.by_key,
            orders=postgres.read_orders(cursor),
            stock=postgres.read_stock(cursor),
            reservations=postgres.read_reservations(cursor),
            payments=postgres.read_payments(cursor),
            sagas=postgres.read_sagas(cursor),
            outbox=postgres.read_outboxes(cursor),
            positions=postgres.read_positions(cursor),
            confirm_times=postgres.read_confirm_times(cursor),
            oddities=oddities(world.stack.admin_url),
        )
    topics = read_topics(world.stack.addresses.kafka)
    return replace(
        facts,
        records=topics.records,
        checkpoints=topics.checkpoints,
        last_offsets=topics.last_offsets,
        dead_letters=topics.dead_letters,
        cache=_read_cache(world.stack.addresses.redis_url),
    )


def _read_cache(url: str) -> Mapping[str, CacheEntry]:
    """Entries of the generation that counts; those of earlier ones nobody would answer with."""
    found: dict[str, CacheEntry] = {}
    with redis.Redis.from_url(url) as client:
        current = int(client.get(f"{_PREFIX}generation") or 0)
        for key in client.scan_iter(f"{_PREFIX}*-*"):
            value = client.get(key)
            if not isinstance(value, bytes):  # it expired meanwhile
                continue
            generation, version, _ = _HEADER.unpack_from(value)
            payload = value[_HEADER.size :]
            if generation == current:
                order = GetOrderResponse.FromString(payload).order if payload else None
                found[key.decode().removeprefix(_PREFIX)] = CacheEntry(version, state_of(order))
    return found


@contextmanager
def watched_vitals(world: World) -> Iterator[Sequence[Vitals]]:
    """Memory and connections of every process, looked at again and again meanwhile."""
    samples: list[Vitals] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            samples.extend(_sample(world))

    watcher = threading.Thread(target=look, name="vitals")
    watcher.start()
    try:
        yield samples
    finally:
        stop.set()
        watcher.join()


def _sample(world: World) -> Iterator[Vitals]:
    for replica in world.replicas.values():
        if (pid := replica.pid) is None:
            continue
        try:
            process = psutil.Process(pid)
            memory = process.memory_info().rss / 2**20
            connections = len(process.net_connections(kind="tcp"))
        except psutil.Error:  # it has just ended
            continue
        yield Vitals(f"{replica.name} ({pid})", time.time(), memory, connections)
