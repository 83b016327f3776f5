"""The schema's steps on a database that has orders already."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url

from trackops_cli.testing import Database as FreshDatabase
from trackops_common.database import Database
from trackops_common.errors import BatchRefused
from trackops_order.adapters.postgres import PostgresOrderReader
from trackops_order.testing import placed

OLD_ORDER = """
INSERT INTO orders (order_id, customer_id, state, currency_code, total_minor, version, create_time,
                    update_time)
VALUES (%(id)s, 'customer-1', 'PENDING', 'EUR', 1900, 1, '2026-01-01Z', '2026-01-01Z')
"""
OLD_LINES = """
INSERT INTO order_lines (order_id, line_number, sku, quantity, unit_price_minor)
VALUES (%(id)s, 1, 'TEA-1', 2, 350), (%(id)s, 2, 'CUP-1', 1, 1200)
"""


@pytest.fixture
def alembic(database: FreshDatabase) -> Config:
    url = make_url(database.url("trackops_order")).set(drivername="postgresql+psycopg2")
    config = Config()
    config.set_main_option("script_location", "trackops_order:migrations")
    config.attributes["url"] = url
    return config


def test_an_order_from_before_fulfilment_has_nothing_shipped_and_can_ship_no_more_than_it_has(
    schema: Database, alembic: Config
) -> None:
    order = placed().order
    command.downgrade(alembic, "0001")
    schema.execute(OLD_ORDER, {"id": str(order.order_id)})
    schema.execute(OLD_LINES, {"id": str(order.order_id)})

    command.upgrade(alembic, "head")

    order.lines = list(order.lines)
    assert PostgresOrderReader(schema).get([order.order_id]) == {order.order_id: order}
    with pytest.raises(BatchRefused):
        schema.execute("UPDATE order_lines SET shipped_quantity = quantity + 1")
