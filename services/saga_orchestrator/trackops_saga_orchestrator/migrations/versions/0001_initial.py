"""Sagas, and how far their triggers were consumed."""

from alembic import op

from trackops_common.migrations.tables import CONSUMER_OFFSETS_V1

revision = "0001"
down_revision = None

# `wake_at` is lease and timer in one. The index on it covers a state as well, so a
# change of `steps` alone stays within the page (HOT); hence the room left in each.
SAGAS = """
CREATE TABLE sagas (
    saga_id            uuid        PRIMARY KEY,
    definition         text        NOT NULL,
    definition_version int         NOT NULL,
    definition_hash    text        NOT NULL,
    subject            text        NOT NULL,
    state              text        NOT NULL CHECK (state IN (
        'RUNNING', 'COMPENSATING', 'COMPLETED', 'COMPENSATED', 'NEEDS_OPERATOR')),
    input              jsonb       NOT NULL,
    steps              jsonb       NOT NULL,
    failure_reason     text,
    failure_message    text,
    epoch              int         NOT NULL,
    wake_at            timestamptz NOT NULL,
    create_time        timestamptz NOT NULL DEFAULT now(),
    update_time        timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE INDEX sagas_due ON sagas (wake_at) WHERE state IN ('RUNNING', 'COMPENSATING');
CREATE INDEX sagas_need_operator ON sagas (create_time) WHERE state = 'NEEDS_OPERATOR';
CREATE INDEX sagas_newest ON sagas (create_time DESC, saga_id DESC);
CREATE INDEX sagas_subject ON sagas (subject, create_time DESC, saga_id DESC);
"""


def upgrade() -> None:
    op.execute(SAGAS)
    op.execute(CONSUMER_OFFSETS_V1)


def downgrade() -> None:
    op.execute("DROP TABLE sagas, consumer_offsets")
