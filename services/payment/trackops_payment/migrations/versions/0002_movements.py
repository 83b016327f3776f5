"""Captures and refunds: their rows, the payments' sums, and how to find what has no answer."""

from alembic import op

revision = "0002"
down_revision = "0001"

# Rows that are there satisfy the new constraints already, so NOT VALID spares the scan under the
# lock; rows written from now on are checked all the same. The sums stand with the payment, and not
# only in its movements, because its row is what is locked and what a constraint can see.
PAYMENTS = """
ALTER TABLE payments
    ADD COLUMN capturing_minor  bigint NOT NULL DEFAULT 0,
    ADD COLUMN captured_minor   bigint NOT NULL DEFAULT 0,
    ADD COLUMN refunding_minor  bigint NOT NULL DEFAULT 0,
    ADD COLUMN refunded_minor   bigint NOT NULL DEFAULT 0,
    ADD COLUMN unanswered_since timestamptz,
    DROP CONSTRAINT payments_state_check,
    ADD CONSTRAINT payments_state_check CHECK (state IN (
        'AUTHORIZING', 'AUTHORIZED', 'DECLINED', 'VOIDING', 'VOIDED', 'PARTIALLY_CAPTURED',
        'CAPTURED')) NOT VALID,
    ADD CONSTRAINT payments_sums_check CHECK (
        least(capturing_minor, captured_minor, refunding_minor, refunded_minor) >= 0) NOT VALID,
    ADD CONSTRAINT payments_captured_check CHECK (
        captured_minor + capturing_minor <= coalesce(amount_minor, 0)) NOT VALID,
    ADD CONSTRAINT payments_refunded_check CHECK (
        refunded_minor + refunding_minor <= captured_minor) NOT VALID,
    ADD CONSTRAINT payments_held_check CHECK (
        authorization_id IS NOT NULL OR state NOT IN ('PARTIALLY_CAPTURED', 'CAPTURED')) NOT VALID,
    ADD CONSTRAINT payments_partly_check CHECK (
        state <> 'PARTIALLY_CAPTURED' OR captured_minor BETWEEN 1 AND amount_minor - 1) NOT VALID,
    ADD CONSTRAINT payments_let_go_check CHECK (
        capturing_minor = 0 OR state IN ('AUTHORIZED', 'PARTIALLY_CAPTURED')) NOT VALID,
    ADD CONSTRAINT payments_voided_check CHECK (
        captured_minor = 0 OR state NOT IN ('VOIDED', 'AUTHORIZED')) NOT VALID;
"""

VOIDING = "UPDATE payments SET unanswered_since = update_time WHERE state = 'VOIDING'"

# `movement_id` is the `request_id` that asked for it.
MOVEMENTS = """
CREATE TABLE payment_movements (
    order_id     uuid        NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('CAPTURE', 'REFUND')),
    movement_id  uuid        NOT NULL,
    state        text        NOT NULL CHECK (state IN ('SENT', 'DONE', 'DECLINED')),
    amount_minor bigint      NOT NULL CHECK (amount_minor >= 0),
    provider_id  text,
    decline_code text,
    create_time  timestamptz NOT NULL,
    update_time  timestamptz NOT NULL,
    PRIMARY KEY (order_id, kind, movement_id),
    CHECK ((provider_id IS NOT NULL) = (state = 'DONE')),
    CHECK ((decline_code IS NOT NULL) = (state = 'DECLINED'))
);
"""

# No index may have `state` of `payments` in it, nor in its predicate: every authorization changes
# it, and would then write each index anew. `unanswered_since` is set by a void, and for what stays
# AUTHORIZING by the sweep, which looks at the payments created since `marked_until` only.
UNANSWERED = """
CREATE INDEX ON payment_movements (create_time) WHERE state = 'SENT';
CREATE INDEX ON payments (unanswered_since) WHERE unanswered_since IS NOT NULL;
CREATE INDEX ON payments USING brin (create_time) WITH (pages_per_range = 32, autosummarize = on);
CREATE TABLE payment_sweep (
    only_row     boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    marked_until timestamptz NOT NULL
);
INSERT INTO payment_sweep (marked_until) VALUES ('-infinity');
"""


def upgrade() -> None:
    op.execute(PAYMENTS)
    op.execute(VOIDING)
    op.execute(MOVEMENTS)
    op.execute(UNANSWERED)


def downgrade() -> None:
    """Takes the movements away: it is for trying out the upgrade, not for data that matter."""
    op.execute("DROP TABLE payment_movements, payment_sweep")
    op.execute("""
    ALTER TABLE payments
        DROP CONSTRAINT payments_state_check,
        DROP CONSTRAINT payments_held_check,
        DROP CONSTRAINT payments_partly_check,
        DROP CONSTRAINT payments_let_go_check,
        DROP CONSTRAINT payments_voided_check,
        DROP COLUMN capturing_minor, DROP COLUMN captured_minor,
        DROP COLUMN refunding_minor, DROP COLUMN refunded_minor, DROP COLUMN unanswered_since,
        ADD CONSTRAINT payments_state_check CHECK (state IN (
            'AUTHORIZING', 'AUTHORIZED', 'DECLINED', 'VOIDING', 'VOIDED')) NOT VALID
    """)
    op.execute("DROP INDEX payments_create_time_idx")
