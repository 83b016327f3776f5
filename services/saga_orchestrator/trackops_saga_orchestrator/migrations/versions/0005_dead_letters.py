"""Dead letters, and the outbox through which they leave."""

from alembic import op

from trackops_common.migrations.tables import DEAD_LETTERS_V1, OUTBOX_V1

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(OUTBOX_V1)
    op.execute(DEAD_LETTERS_V1)


def downgrade() -> None:
    op.execute("DROP TABLE dead_letters, outbox")
    op.execute("DROP SEQUENCE outbox_seq")
