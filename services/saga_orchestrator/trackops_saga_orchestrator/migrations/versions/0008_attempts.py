"""The books keep every attempt of a step."""

from alembic import op

revision = "0008"
down_revision = "0007"

# Failures that stand in the rows so far come into the books when the rows are next written.
ATTEMPTS = """
CREATE TABLE saga_attempts (
    saga_id      uuid        NOT NULL,
    step         text        NOT NULL,
    compensation bool        NOT NULL,
    number       int         NOT NULL,
    send_time    timestamptz NOT NULL,
    end_time     timestamptz NOT NULL,
    error        text        NOT NULL,
    retry_time   timestamptz,
    PRIMARY KEY (saga_id, step, send_time, number, compensation)
);

ALTER TABLE sagas ADD COLUMN send_times bigint[] NOT NULL DEFAULT '{}';
"""


def upgrade() -> None:
    op.execute(ATTEMPTS)


def downgrade() -> None:
    op.execute("DROP TABLE saga_attempts")
    op.execute("ALTER TABLE sagas DROP COLUMN send_times")
