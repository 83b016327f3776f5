"""Stock and reservations; outbox and stored requests."""

from alembic import op

from trackops_common.migrations.tables import OUTBOX_V1, REQUESTS_V1

revision = "0001"
down_revision = None

INVENTORY = """
-- A row per sku, changed by every batch that touches it: room for updates within the page.
CREATE TABLE stock (
    sku      text   PRIMARY KEY,
    on_hand  bigint NOT NULL,
    reserved bigint NOT NULL,
    CHECK (reserved BETWEEN 0 AND on_hand)
) WITH (fillfactor = 50);

-- The items stand in the row: they are written once with it and only ever read as a whole, so a
-- table of their own would cost a second insert, and a second index, for each reservation.
CREATE TABLE reservations (
    order_id    uuid        PRIMARY KEY,
    state       text        NOT NULL CHECK (state IN ('HELD', 'RELEASED')),
    items       jsonb       NOT NULL CHECK (jsonb_typeof(items) = 'array'),
    version     bigint      NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL
) WITH (fillfactor = 80);
"""


def upgrade() -> None:
    op.execute(INVENTORY)
    op.execute(OUTBOX_V1)
    op.execute(REQUESTS_V1)


def downgrade() -> None:
    op.execute("DROP TABLE reservations, stock, outbox, requests")
    op.execute("DROP SEQUENCE outbox_seq")
