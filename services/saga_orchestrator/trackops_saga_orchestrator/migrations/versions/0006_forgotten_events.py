"""The oldest events are found without reading the others."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("CREATE INDEX saga_events_create_time ON saga_events (create_time)")


def downgrade() -> None:
    op.execute("DROP INDEX saga_events_create_time")
