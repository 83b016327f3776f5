"""A saga remembers the trace that it began in, for the steps that come later."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("ALTER TABLE sagas ADD COLUMN traceparent text")


def downgrade() -> None:
    op.execute("ALTER TABLE sagas DROP COLUMN traceparent")
