"""The schema's steps on a database that has payments already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url

from trackops_cli.testing import Database as FreshDatabase
from trackops_common.database import Database
from trackops_common.errors import BatchRefused
from trackops_payment.domain.payment import PaymentState

from .payment_fakes import Payments, PostgresTables

OLD_PAYMENTS = """
INSERT INTO payments (order_id, state, amount_minor, currency_code, payment_method_token,
                      authorization_id, version, create_time, update_time)
VALUES (%(held)s, 'AUTHORIZED', 500, 'EUR', 'tok_visa', 'auth_1', 2, '2026-01-01Z', '2026-01-01Z'),
       (%(voiding)s, 'VOIDING', 500, 'EUR', 'tok_visa', 'auth_2', 3, '2025-01-01Z', '2025-01-01Z'),
       (%(asked)s, 'AUTHORIZING', 500, 'EUR', 'tok_visa', NULL, 1, '2025-01-01Z', '2025-01-01Z')
"""


@pytest.fixture
def schema(database: FreshDatabase) -> Iterator[Database]:
    url = database.url("trackops_payment")
    with closing(Database(url, application_name="test")) as made:
        yield made


@pytest.fixture
def alembic(database: FreshDatabase) -> Config:
    url = make_url(database.url("trackops_payment")).set(drivername="postgresql+psycopg2")
    config = Config()
    config.set_main_option("script_location", "trackops_payment:migrations")
    config.attributes["url"] = url
    return config


def test_payments_from_before_captures_are_captured_and_swept(
    schema: Database, alembic: Config
) -> None:
    orders = {name: uuid4() for name in ("held", "voiding", "asked")}
    command.downgrade(alembic, "0001")
    schema.execute(OLD_PAYMENTS, {name: str(id_) for name, id_ in orders.items()})

    command.upgrade(alembic, "head")

    payments = Payments(PostgresTables(schema))
    assert isinstance(payments.capture(orders["held"], 500), bytes)
    assert payments.sweep() == 2
    assert payments.state(orders["voiding"]) is PaymentState.VOIDED
    assert payments.state(orders["asked"]) is PaymentState.AUTHORIZED


@pytest.mark.parametrize(
    "change",
    [
        "capturing_minor = 501",
        "captured_minor = 400, capturing_minor = 101, state = 'PARTIALLY_CAPTURED'",
        "capturing_minor = -1",
        "captured_minor = 100, refunded_minor = 60, refunding_minor = 41, state = 'CAPTURED'",
        "captured_minor = 100",
        "captured_minor = 500, state = 'PARTIALLY_CAPTURED'",
        "capturing_minor = 100, state = 'VOIDING'",
    ],
)
def test_no_row_can_say_that_more_was_moved_than_there_is(schema: Database, change: str) -> None:
    payments = Payments(PostgresTables(schema))
    payments.authorize(uuid4(), amount=500)
    with pytest.raises(BatchRefused):
        schema.execute(f"UPDATE payments SET {change}")
