"""The rest of the lifecycle: what left, what came back, and the states for it."""

from alembic import op

revision = "0002"
down_revision = "0001"

# Rows that are there satisfy the new constraints already, so NOT VALID spares the scan under the
# lock; rows written from now on are checked all the same.
LINES = """
ALTER TABLE order_lines
    ADD COLUMN shipped_quantity  int NOT NULL DEFAULT 0,
    ADD COLUMN returned_quantity int NOT NULL DEFAULT 0,
    ADD CONSTRAINT order_lines_shipped_check
        CHECK (shipped_quantity BETWEEN 0 AND quantity) NOT VALID,
    ADD CONSTRAINT order_lines_returned_check
        CHECK (returned_quantity BETWEEN 0 AND shipped_quantity) NOT VALID;
"""

STATES = """
ALTER TABLE orders
    DROP CONSTRAINT orders_state_check,
    ADD CONSTRAINT orders_state_check
        CHECK (state IN ('PENDING', 'CONFIRMED', 'REJECTED', 'CANCELLING', 'CANCELLED',
                         'FULFILLING', 'SHIPPED', 'DELIVERED', 'PARTIALLY_RETURNED',
                         'RETURNED')) NOT VALID;
"""

# `version` is the order's version after the shipment or the return.
MOVEMENTS = """
CREATE TABLE order_shipments (
    order_id        uuid   NOT NULL,
    version         bigint NOT NULL,
    shipment_id     uuid   NOT NULL,
    carrier         text   NOT NULL,
    tracking_number text   NOT NULL,
    PRIMARY KEY (order_id, version)
);

CREATE TABLE order_shipment_lines (
    order_id    uuid     NOT NULL,
    version     bigint   NOT NULL,
    line_number smallint NOT NULL,
    quantity    int      NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, version, line_number)
);

CREATE TABLE order_returns (
    order_id  uuid   NOT NULL,
    version   bigint NOT NULL,
    return_id uuid   NOT NULL,
    reason    text   NOT NULL,
    PRIMARY KEY (order_id, version)
);

CREATE TABLE order_return_lines (
    order_id     uuid     NOT NULL,
    version      bigint   NOT NULL,
    line_number  smallint NOT NULL,
    quantity     int      NOT NULL CHECK (quantity > 0),
    refund_minor bigint   NOT NULL CHECK (refund_minor >= 0),
    PRIMARY KEY (order_id, version, line_number)
);
"""


def upgrade() -> None:
    op.execute(LINES)
    op.execute(STATES)
    op.execute(MOVEMENTS)


def downgrade() -> None:
    op.execute(
        "DROP TABLE order_return_lines, order_returns, order_shipment_lines, order_shipments"
    )
    op.execute(
        "ALTER TABLE order_lines DROP COLUMN shipped_quantity, DROP COLUMN returned_quantity"
    )
    op.execute(
        "ALTER TABLE orders DROP CONSTRAINT orders_state_check, ADD CONSTRAINT orders_state_check"
        " CHECK (state IN ('PENDING', 'CONFIRMED', 'REJECTED'))"
    )
