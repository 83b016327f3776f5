"""Operators steer sagas, and the books say who did."""

from alembic import op

from trackops_common.migrations.tables import REQUESTS_V1

revision = "0004"
down_revision = "0003"

OPERATORS = """
ALTER TABLE sagas
    DROP CONSTRAINT sagas_state_check,
    ADD CONSTRAINT sagas_state_check CHECK (state IN (
        'QUEUED', 'RUNNING', 'COMPENSATING', 'COMPLETED', 'COMPENSATED', 'PAUSED',
        'NEEDS_OPERATOR'));

DROP INDEX sagas_need_operator;
CREATE INDEX sagas_held ON sagas (state, update_time) WHERE state IN ('PAUSED', 'NEEDS_OPERATOR');

CREATE TABLE saga_audit (
    audit_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    saga_id      uuid        NOT NULL,
    operation    text        NOT NULL,
    step         text        NOT NULL,
    reason       text        NOT NULL,
    principal    text        NOT NULL,
    state_before text        NOT NULL,
    state_after  text        NOT NULL,
    create_time  timestamptz NOT NULL
);
CREATE INDEX saga_audit_saga ON saga_audit (saga_id, audit_id);
"""


def upgrade() -> None:
    op.execute(OPERATORS)
    op.execute(REQUESTS_V1)


def downgrade() -> None:
    op.execute("DROP TABLE saga_audit, requests")
    op.execute("DROP INDEX sagas_held")
    op.execute(
        "CREATE INDEX sagas_need_operator ON sagas (create_time) WHERE state = 'NEEDS_OPERATOR'"
    )
