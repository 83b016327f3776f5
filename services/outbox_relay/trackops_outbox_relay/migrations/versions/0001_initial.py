"""The sources that were ever relayed."""

from alembic import op

revision = "0001"
down_revision = None

KNOWN_SOURCES = """
CREATE TABLE known_sources (
    source              text        PRIMARY KEY,
    checkpoint_topic_id text        NOT NULL,
    first_seen          timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    op.execute(KNOWN_SOURCES)


def downgrade() -> None:
    op.execute("DROP TABLE known_sources")
