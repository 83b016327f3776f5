"""The orchestrator alone: place-order sagas a second, and what one costs.

The orders are there beforehand, with their events in Kafka; stock and payment
agree at once, the order service confirms as ever. Counted from the first saga's
start to the last one's commit, by Postgres's clock; the cost is that of the
orchestrator's process. Beside it, in the same run: a saga's four bare writes,
each a transaction, by pgbench.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import psycopg2
from confluent_kafka import Producer

from trackops_cli.local.mesh import SERVICES, Service
from trackops_cli.local.ports import HOST, Ports
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import wait_for
from trackops_common.envelope import HeaderWriter

__all__ = ["SagaFigures", "place_order_sagas"]

_ORDERS_PER_S = 1000
_SECONDS = 6
_SQL_SECONDS = 8
_CLIENTS = 32

_EVENTS = """
SELECT event_id::text, topic, key, type, payload, seq, aggregate_version
  FROM trackops_order.outbox ORDER BY seq
"""
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


@dataclass(frozen=True)
class SagaFigures:
    """What was counted."""

    sagas: int
    per_s: float
    cpu_ms: float
    """Of the orchestrator, for one saga."""
    sql_transactions_per_s: float
    """Bare ones; a saga would be four of them."""


def place_order_sagas(stack: LocalStack) -> SagaFigures:
    """Measure on a stack whose servers run and are provisioned, with no service on it yet."""
    sql = _bare_transactions(stack)
    stack.services["order"].start()
    orders = _make_orders(stack)
    with _agreeing_participants() as participants, _orchestrator(stack, participants) as process:
        before = _cpu_seconds(process)
        _publish(stack)
        wait_for(lambda: _ask(stack, _ENDED) == orders, seconds=120, what="the sagas to end")
        cpu = _cpu_seconds(process) - before
    return SagaFigures(orders, orders / _ask(stack, _DURATION), 1000 * cpu / orders, sql)


def _bare_transactions(stack: LocalStack) -> float:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "saga.sql")
        script.write_text(_SAGA)
        command = [
            stack.postgres.program("pgbench"),
            *("--no-vacuum", "--protocol=prepared", f"--file={script}", "--jobs=2"),
            *(f"--client={_CLIENTS}", f"--time={_SQL_SECONDS}"),
            stack.addresses.database_url("trackops_saga_orchestrator"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    match = re.search(r"tps = ([\d.]+) \(without", done.stdout)
    if match is None:
        raise RuntimeError("pgbench failed: " + done.stderr.partition("\n")[0])
    _clear(stack)
    return 4 * float(match[1])


def _clear(stack: LocalStack) -> None:
    connection = psycopg2.connect(stack.admin_url)
    with connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE trackops_saga_orchestrator.sagas")
    connection.close()


def _make_orders(stack: LocalStack) -> int:
    words = ("create-order", stack.addresses.services["order"])
    pace = ("--rate", str(_ORDERS_PER_S), "--seconds", str(_SECONDS))
    command = [sys.executable, "-m", "bench.load", *words, *pace]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return int(_ask(stack, "SELECT count(*) FROM trackops_order.orders"))


def _publish(stack: LocalStack) -> None:
    """All events of the orders at once, as the relay would have."""
    producer = Producer(
        {
            **stack.addresses.kafka.connection,
            "queue.buffering.max.messages": 10**6,
        }
    )
    writer = HeaderWriter("trackops_order")
    with psycopg2.connect(stack.admin_url) as connection, connection.cursor() as cursor:
        cursor.execute(_EVENTS)
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
    connection.close()
    if producer.flush(30):
        raise RuntimeError("Kafka did not take the events")


@contextmanager
def _agreeing_participants() -> Iterator[str]:
    address = f"{HOST}:{Ports.free().inventory}"
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.participants", address], stdout=subprocess.PIPE
    )
    try:
        if server.stdout is None:
            raise RuntimeError("the participants have no pipe")
        server.stdout.readline()
        yield address
    finally:
        server.kill()
        server.wait()


@contextmanager
def _orchestrator(stack: LocalStack, participants: str) -> Iterator[psutil.Process]:
    (spec,) = (one for one in SERVICES if one.name == "saga_orchestrator")
    agreeing = {"inventory": participants, "payment": participants}
    addresses = replace(stack.addresses, services={**stack.addresses.services, **agreeing})
    service = Service(spec, stack.context, addresses)
    service.start()
    try:
        yield psutil.Process(service.process.pid)
    finally:
        service.stop()


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _ask(stack: LocalStack, query: str) -> float:
    connection = psycopg2.connect(stack.admin_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        (value,) = cursor.fetchone() or (0,)
    connection.close()
    return float(value)
