"""Pieces that left and came back, reservations that expire, and versions of skus."""

from alembic import op

revision = "0002"
down_revision = "0001"

# An item is [sku, quantity] until something of it left; from then on
# [sku, quantity, committed, restocked]. The path finds any that breaks
# 0 <= restocked <= committed <= quantity; a part that is not there breaks nothing. (Strict, since a
# lax filter looks into each array that it is given and would see no item.)
#
# `expire_time` is for what is held only, and its index has those rows alone: one that never
# expires pays nothing for it, and neither does its release, since none of its indexed columns
# changes.
#
# Rows that are there satisfy the new constraints already, so NOT VALID spares the scan under the
# lock; rows written from now on are checked all the same.
RESERVATIONS = """
ALTER TABLE reservations
    ADD COLUMN expire_time timestamptz,
    DROP CONSTRAINT reservations_state_check,
    ADD CONSTRAINT reservations_state_check
        CHECK (state IN ('HELD', 'RELEASED', 'COMMITTED')) NOT VALID,
    ADD CONSTRAINT reservations_quantities_check
        CHECK (NOT jsonb_path_exists(
            items, 'strict $[*] ? (@[3] < 0 || @[3] > @[2] || @[2] > @[1])'
        )) NOT VALID,
    ADD CONSTRAINT reservations_expire_time_check
        CHECK (expire_time IS NULL OR state = 'HELD') NOT VALID;

CREATE INDEX reservations_by_expire_time ON reservations (expire_time)
 WHERE expire_time IS NOT NULL;
"""

STOCK = "ALTER TABLE stock ADD COLUMN version bigint NOT NULL DEFAULT 0"


def upgrade() -> None:
    op.execute(RESERVATIONS)
    op.execute(STOCK)


def downgrade() -> None:
    op.execute("ALTER TABLE stock DROP COLUMN version")
    op.execute(
        "ALTER TABLE reservations DROP COLUMN expire_time,"
        " DROP CONSTRAINT reservations_quantities_check,"
        " DROP CONSTRAINT reservations_state_check, ADD CONSTRAINT reservations_state_check"
        " CHECK (state IN ('HELD', 'RELEASED'))"
    )
