"""Events that sagas wait for, and sagas that wait for a participant that is away."""

from alembic import op

revision = "0003"
down_revision = "0002"

WAITS = """
CREATE TABLE saga_events (
    subject     text        NOT NULL,
    event       text        NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subject, event)
);

ALTER TABLE sagas ADD COLUMN parked_on text;
CREATE INDEX sagas_parked ON sagas (parked_on, wake_at) WHERE parked_on IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(WAITS)


def downgrade() -> None:
    op.execute("DROP TABLE saga_events")
    op.execute("ALTER TABLE sagas DROP COLUMN parked_on")
