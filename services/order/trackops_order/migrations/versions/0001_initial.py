"""Orders, their lines and transitions; outbox and stored requests."""

from alembic import op

from trackops_common.migrations.tables import OUTBOX_V1, REQUESTS_V1

revision = "0001"
down_revision = None

ORDERS = """
CREATE TABLE orders (
    order_id          uuid        PRIMARY KEY,
    customer_id       text        NOT NULL,
    state             text        NOT NULL CHECK (state IN ('PENDING', 'CONFIRMED', 'REJECTED')),
    currency_code     text        NOT NULL,
    total_minor       bigint      NOT NULL CHECK (total_minor >= 0),
    version           bigint      NOT NULL,
    create_time       timestamptz NOT NULL,
    update_time       timestamptz NOT NULL,
    rejection_reason  text,
    rejection_message text,
    CHECK ((state = 'REJECTED') = (rejection_reason IS NOT NULL))
) WITH (fillfactor = 70);

CREATE TABLE order_lines (
    order_id         uuid     NOT NULL,
    line_number      smallint NOT NULL,
    sku              text     NOT NULL,
    quantity         int      NOT NULL CHECK (quantity > 0),
    unit_price_minor bigint   NOT NULL CHECK (unit_price_minor >= 0),
    PRIMARY KEY (order_id, line_number)
);

-- The first state of an order stands in `orders` (its create_time); later ones are rows here.
CREATE TABLE order_transitions (
    order_id          uuid        NOT NULL,
    version           bigint      NOT NULL,
    state             text        NOT NULL,
    enter_time        timestamptz NOT NULL,
    rejection_reason  text,
    rejection_message text,
    PRIMARY KEY (order_id, version)
);
"""


def upgrade() -> None:
    op.execute(ORDERS)
    op.execute(OUTBOX_V1)
    op.execute(REQUESTS_V1)


def downgrade() -> None:
    op.execute("DROP TABLE order_transitions, order_lines, orders, outbox, requests")
    op.execute("DROP SEQUENCE outbox_seq")
