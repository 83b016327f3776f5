"""What an order carries beside its lines, and the reasons of those who change it."""

from alembic import op

revision = "0004"
down_revision = "0003"

# Constant defaults rewrite no row, and the version of before writes its rows as it did.
COLUMNS = """
ALTER TABLE orders
    ADD COLUMN cancellation_reason text NOT NULL DEFAULT '',
    ADD COLUMN details jsonb;
ALTER TABLE order_transitions ADD COLUMN reason text NOT NULL DEFAULT '';
"""


def upgrade() -> None:
    op.execute(COLUMNS)


def downgrade() -> None:
    op.execute("ALTER TABLE order_transitions DROP COLUMN reason")
    op.execute("ALTER TABLE orders DROP COLUMN cancellation_reason, DROP COLUMN details")
