"""What operators ask of the relay, and what became of it."""

from alembic import op

revision = "0002"
down_revision = "0001"

OPERATIONS = """
CREATE TABLE operations (
    number       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operation_id uuid        NOT NULL UNIQUE,
    source       text        NOT NULL,
    kind         text        NOT NULL,
    key          text        NOT NULL,
    through_seq  bigint      NOT NULL,
    digest       text        NOT NULL,
    reason       text        NOT NULL CHECK (reason <> ''),
    principal    text        NOT NULL,
    request_time timestamptz NOT NULL DEFAULT now(),
    state        text        NOT NULL DEFAULT 'PENDING',
    problem      text        NOT NULL DEFAULT '',
    outcome      text        NOT NULL DEFAULT '',
    finish_time  timestamptz
);
CREATE INDEX operations_pending ON operations (source, number) WHERE state = 'PENDING';
CREATE INDEX operations_by_source ON operations (source, number);
"""


def upgrade() -> None:
    op.execute(OPERATIONS)


def downgrade() -> None:
    op.execute("DROP TABLE operations")
