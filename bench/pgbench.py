"""What Postgres itself reaches: pgbench doing one order a transaction.

The rows are those of CreateOrder (order, three lines, stored request, outbox
row of the same size); statements are prepared once per connection. Without the
outbox lock the commits of 32 clients share their flushes, which is the most
that this server can do with these rows; with the lock (`ordered`) they stand in
line, as they must when the order of `seq` is to be the order of commits.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.figures import percentile
from bench.processes import cpu_seconds
from trackops_cli.local.stack import LocalStack

__all__ = ["Transactions", "orders", "orders_p99_ms", "transactions"]

_CLIENTS = 32
_WARM_UP_SECONDS = 2
_TAKEN, _ENDED = 2, 4
"""Which words of a line of pgbench's log are microseconds it took, and the second it ended in."""

_RESPONSE_BYTES = 250
_EVENT_BYTES = 265

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.outbox', 0));"

_ID = "('7da3b4f0-1c5e-5a52-9b1c-' || lpad(to_hex(:order::bigint), 12, '0'))::uuid"
"""Made in the statement: a round trip to ask for an id would slow pgbench down."""

_ORDER = f"""
\\set sku1 random(1, 100)
\\set sku2 random(101, 200)
\\set sku3 random(201, 300)
\\set order random(0, 281474976710655)
BEGIN;
INSERT INTO orders (order_id, customer_id, state, currency_code, total_minor, version,
                    create_time, update_time)
VALUES ({_ID}, 'bench-customer', 'PENDING', 'EUR', 5997, 1, now(), now())
ON CONFLICT (order_id) DO NOTHING;
INSERT INTO order_lines (order_id, line_number, sku, quantity, unit_price_minor, create_time)
VALUES ({_ID}, 1, 'BENCH-' || :sku1, 1, 1999, now()),
       ({_ID}, 2, 'BENCH-' || :sku2, 1, 1999, now()),
       ({_ID}, 3, 'BENCH-' || :sku3, 1, 1999, now());
INSERT INTO requests (request_key, request_hash, response)
VALUES ({_ID}, '\\x000102030405060708090a0b0c0d0e0f',
        convert_to(repeat('r', {_RESPONSE_BYTES}), 'UTF8'));
{{lock}}
INSERT INTO outbox (event_id, topic, key, type, aggregate_version, payload, occurred_at)
VALUES (gen_random_uuid(), 'trackops.order.events.v1', {_ID}, 'trackops.order.v1.OrderPlaced', 1,
        convert_to(repeat('e', {_EVENT_BYTES}), 'UTF8'), now());
COMMIT;
"""


@dataclass(frozen=True)
class Transactions:
    """What pgbench reached."""

    per_s: float
    cpu_ms: float
    """Of Postgres, for one."""


def orders(
    stack: LocalStack, *, seconds: int, ordered: bool = False, url: str = ""
) -> Transactions:
    """As many as can be, of an order each, into the order service's schema of a stack that runs.

    `ordered` is with the outbox lock; `url` is of another such schema in the stack's Postgres.
    """
    script = _ORDER.format(lock=_LOCK if ordered else "")
    url = url or stack.addresses.database_url("trackops_order")
    return transactions(stack, url, script, seconds)


def orders_p99_ms(stack: LocalStack, *, seconds: int, rate: float) -> float:
    """Of `rate` transactions a second, an order each, after a warm-up; from when each was due."""
    with tempfile.TemporaryDirectory() as folder:
        logs = ("--log", f"--log-prefix={folder}/log", f"--rate={rate:g}")
        url = stack.addresses.database_url("trackops_order")
        _run(stack, url, _ORDER.format(lock=""), f"--time={_WARM_UP_SECONDS + seconds}", *logs)
        lines = [line.split() for log in Path(folder).glob("log.*") for line in log.open()]
    begin = min(int(line[_ENDED]) for line in lines) + _WARM_UP_SECONDS
    taken = [int(line[_TAKEN]) / 1000 for line in lines if int(line[_ENDED]) >= begin]
    return percentile(taken, 99)


def transactions(stack: LocalStack, url: str, script: str, seconds: int) -> Transactions:
    """As many of `script` as can be, by 32 clients of the stack's Postgres."""
    before = cpu_seconds(stack.postgres)
    report = _run(stack, url, script, f"--time={seconds}")
    cpu = cpu_seconds(stack.postgres) - before
    return Transactions(
        per_s=_number(r"tps = ([\d.]+) \(without", report),
        cpu_ms=1000 * cpu / _number(r"actually processed: (\d+)", report),
    )


def _run(stack: LocalStack, url: str, script: str, *options: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "transaction.sql")
        file.write_text(script)
        command = [
            stack.postgres.program("pgbench"),
            *("--no-vacuum", "--protocol=prepared", f"--file={file}"),
            *(f"--client={_CLIENTS}", "--jobs=2", *options, url),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError("pgbench failed: " + done.stderr.partition("\n")[0])
    return done.stdout


def _number(pattern: str, report: str) -> float:
    match = re.search(pattern, report)
    if match is None:
        raise RuntimeError("pgbench reported nothing")
    return float(match[1])
