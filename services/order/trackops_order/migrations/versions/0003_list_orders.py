"""The indexes of listings; an order's lines know when it was created."""

from alembic import op

revision = "0003"
down_revision = "0002"

# The default is for the version of before, which may still be inserting lines.
LISTINGS = """
ALTER TABLE order_lines ADD COLUMN create_time timestamptz NOT NULL DEFAULT now();
UPDATE order_lines SET create_time = orders.create_time
  FROM orders WHERE orders.order_id = order_lines.order_id;

CREATE INDEX orders_by_create_time ON orders (create_time, order_id);
CREATE INDEX orders_by_customer ON orders (customer_id, create_time, order_id);
CREATE INDEX order_lines_by_sku ON order_lines (sku, create_time, order_id);
"""


def upgrade() -> None:
    op.execute(LISTINGS)


def downgrade() -> None:
    op.execute("DROP INDEX orders_by_create_time, orders_by_customer, order_lines_by_sku")
    op.execute("ALTER TABLE order_lines DROP COLUMN create_time")
