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
from pathlib import Path

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


def orders_per_second(
    program: str, database_url: str, *, clients: int, seconds: int, ordered: bool
) -> float:
    """Transactions a second of `program` (pgbench) against the order service's schema."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "create_order.sql")
        script.write_text(_ORDER.format(lock=_LOCK if ordered else ""))
        command = [
            program,
            *("--no-vacuum", "--protocol=prepared", f"--file={script}"),
            *(f"--client={clients}", "--jobs=2", f"--time={seconds}", database_url),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    match = re.search(r"tps = ([\d.]+) \(without", done.stdout)
    if match is None:
        raise RuntimeError("pgbench failed: " + done.stderr.partition("\n")[0])
    return float(match[1])
