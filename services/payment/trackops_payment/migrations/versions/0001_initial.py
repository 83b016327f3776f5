"""Payments; outbox and stored requests."""

from alembic import op

from trackops_common.migrations.tables import OUTBOX_V1, REQUESTS_V1

revision = "0001"
down_revision = None

PAYMENTS = """
-- Amount, currency and token are what the provider was asked for, so that it can be asked the same
-- again; a void that came before any authorization has none of them.
CREATE TABLE payments (
    order_id             uuid        PRIMARY KEY,
    state                text        NOT NULL CHECK (state IN (
                             'AUTHORIZING', 'AUTHORIZED', 'DECLINED', 'VOIDING', 'VOIDED')),
    amount_minor         bigint      CHECK (amount_minor >= 0),
    currency_code        text,
    payment_method_token text,
    authorization_id     text,
    decline_code         text,
    version              bigint      NOT NULL,
    create_time          timestamptz NOT NULL,
    update_time          timestamptz NOT NULL,
    CHECK (num_nulls(amount_minor, currency_code, payment_method_token) IN (0, 3)),
    CHECK (amount_minor IS NOT NULL OR state = 'VOIDED'),
    CHECK (authorization_id IS NOT NULL OR state <> 'AUTHORIZED'),
    CHECK ((decline_code IS NOT NULL) = (state = 'DECLINED'))
) WITH (fillfactor = 50);
"""


def upgrade() -> None:
    op.execute(PAYMENTS)
    op.execute(OUTBOX_V1)
    op.execute(REQUESTS_V1)


def downgrade() -> None:
    op.execute("DROP TABLE payments, outbox, requests")
    op.execute("DROP SEQUENCE outbox_seq")
