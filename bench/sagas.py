"""The orchestrator alone: place-order sagas a second, and what one costs.

The orders are there beforehand, with their events in Kafka; stock and payment
agree at once, the order service confirms as ever. Counted from the first saga's
start to the last one's commit, by Postgres's clock; the cost is that of the
orchestrator's process. Beside it, in the same round: a saga's four bare writes,
each a transaction, by pgbench.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import psycopg2
from confluent_kafka import Producer

from bench import pgbench
from bench.figures import Figure, at_least
from bench.generator import load
from bench.processes import cpu_seconds, little_server
from bench.run import Run
from bench.tokens import call_as_admin_of
from trackops_cli.local.mesh import SERVICES, Service
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import temporary_stack, wait_for
from trackops_common.envelope import HeaderWriter

__all__ = ["measure"]

_SECONDS = 3
_SQL_SECONDS = 6
_STUCK_SECONDS = 120

_EVENTS = """
SELECT event_id::text, topic, key, type, payload, seq, aggregate_version
  FROM trackops_order.outbox WHERE seq > %s AND type = 'trackops.order.v1.OrderPlaced' ORDER BY seq
"""
_LAST_EVENT = "SELECT coalesce(max(seq), 0) FROM trackops_order.outbox"
_ENDED = "SELECT count(*) FROM trackops_saga_orchestrator.sagas WHERE state = 'COMPLETED'"
_DURATION = """
SELECT extract(epoch FROM max(update_time) - min(create_time))
  FROM trackops_saga_orchestrator.sagas
"""

_ID = "('7da3b4f0-1c5e-5a52-9b1c-' || lpad(to_hex(:saga::bigint), 12, '0'))::uuid"
_STEPS = '[["reserve-stock","S",1,1767225600000],["authorize-payment","W",0,1767225600000]]'
_MOVE = f"UPDATE sagas SET steps = '{_STEPS}', update_time = now() WHERE saga_id = {_ID};\n"
_SAGA = (
    f"""\
\\set saga random(0, 281474976710655)
INSERT INTO sagas (saga_id, definition, definition_version, definition_hash, subject, state,
                   input, steps, epoch, wake_at)
VALUES ({_ID}, 'bench', 1, 'bench', 'bench', 'COMPLETED',
        '{{"items":[["BENCH-1",1],["BENCH-2",1],["BENCH-3",1]]}}', '{_STEPS}', 1, now())
    ON CONFLICT DO NOTHING;
"""
    + 3 * _MOVE
)


def measure(run: Run) -> Iterator[Figure]:
    with temporary_stack() as stack:
        run.say("starting Postgres, Redis, Kafka, identity and the order service")
        stack.start_servers()
        stack.provision()
        stack.services["identity"].start()
        stack.services["order"].start()
        call_as_admin_of(stack)
        with little_server("bench.participants") as participants:
            agreeing = _orchestrator(stack, participants.target)
            rounds = [_once(run, stack, agreeing) for _ in run.each_round("place-order sagas")]
    yield Figure(
        "sagas_per_s",
        "place-order sagas, stock and payment agreeing at once",
        "/s",
        [one.per_s for one in rounds],
        "sagas/s of bare SQL, their four writes only",
        [one.bare.per_s for one in rounds],
        at_least(600),
    )
    yield Figure(
        "saga_cpu_ms",
        "CPU of a saga, the orchestrator's",
        "ms",
        [one.cpu_ms for one in rounds],
        "ms of Postgres for its four bare writes",
        [one.bare.cpu_ms for one in rounds],
    )


@dataclass(frozen=True)
class _Round:
    per_s: float
    cpu_ms: float
    bare: pgbench.Transactions
    """Of a saga each: all of its writes."""


def _once(run: Run, stack: LocalStack, orchestrator: Service) -> _Round:
    bare = _bare(run, stack)
    before = int(_ask(stack, _LAST_EVENT))
    orders = load(
        run, "create-order", stack.addresses.services["order"], seconds=run.seconds(_SECONDS)
    ).calls
    with _started(orchestrator):
        cpu = cpu_seconds(orchestrator)
        if _publish(stack, before) != orders:
            raise SystemExit("bench: orders and their events differ in number")
        wait_for(
            lambda: _ask(stack, _ENDED) == orders, seconds=_STUCK_SECONDS, what="the sagas to end"
        )
        cpu = cpu_seconds(orchestrator) - cpu
    return _Round(orders / _ask(stack, _DURATION), 1000 * cpu / orders, bare)


def _bare(run: Run, stack: LocalStack) -> pgbench.Transactions:
    """Its sagas and those of the round before are gone afterwards."""
    url = stack.addresses.database_url("trackops_saga_orchestrator")
    moves = pgbench.transactions(stack, url, _SAGA, run.seconds(_SQL_SECONDS))
    with closing(psycopg2.connect(stack.admin_url)) as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE trackops_saga_orchestrator.sagas")
        connection.commit()
    return moves


def _publish(stack: LocalStack, after: int) -> int:
    """All events of orders beyond that seq at once, as the relay would have; returns how many."""
    producer = Producer(
        {
            **stack.addresses.kafka.connection,
            "queue.buffering.max.messages": 10**6,
        }
    )
    writer = HeaderWriter("trackops_order")
    with closing(psycopg2.connect(stack.admin_url)) as connection, connection.cursor() as cursor:
        cursor.execute(_EVENTS, (after,))
        for event_id, topic, key, type_, payload, seq, version in cursor:
            headers = writer.headers(
                event_id=event_id,
                type_=type_,
                subject=key,
                time="2026-01-01T00:00:00Z",
                outboxseq=seq,
                aggregateversion=version,
                traceparent="",
            )
            producer.produce(topic, bytes(payload), key=key, headers=headers)
        published = cursor.rowcount
    if producer.flush(30):
        raise RuntimeError("Kafka did not take the events")
    return published


def _orchestrator(stack: LocalStack, participants: str) -> Service:
    """Told that stock and payment are at `participants`."""
    (spec,) = (one for one in SERVICES if one.name == "saga_orchestrator")
    agreeing = {"inventory": participants, "payment": participants}
    addresses = replace(stack.addresses, services={**stack.addresses.services, **agreeing})
    return Service(spec, stack.context, addresses)


@contextmanager
def _started(service: Service) -> Iterator[None]:
    service.start()
    try:
        yield
    finally:
        service.stop()


def _ask(stack: LocalStack, query: str) -> float:
    with closing(psycopg2.connect(stack.admin_url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        (value,) = cursor.fetchone() or (0,)
    return float(value)
