"""Several sagas about one subject, one after another."""

from alembic import op

revision = "0002"
down_revision = "0001"

# A queued saga has no timer and no lease: the end of the one before makes it due.
TURNS = """
ALTER TABLE sagas
    ADD COLUMN occurrence text NOT NULL DEFAULT '',
    ADD COLUMN waits_for  uuid,
    DROP CONSTRAINT sagas_state_check,
    ADD CONSTRAINT sagas_state_check CHECK (state IN (
        'QUEUED', 'RUNNING', 'COMPENSATING', 'COMPLETED', 'COMPENSATED', 'NEEDS_OPERATOR'));

CREATE INDEX sagas_waiting ON sagas (waits_for) WHERE waits_for IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(TURNS)


def downgrade() -> None:
    op.execute("DROP INDEX sagas_waiting")
    op.execute("ALTER TABLE sagas DROP COLUMN waits_for, DROP COLUMN occurrence")
