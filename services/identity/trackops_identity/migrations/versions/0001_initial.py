"""Accounts, sessions, throttles, clients and signing keys; the outbox."""

from alembic import op

from trackops_common.migrations.tables import OUTBOX_V1, REQUESTS_V1

revision = "0001"
down_revision = None

IDENTITY = """
CREATE TABLE users (
    user_id        uuid        PRIMARY KEY,
    email          text        NOT NULL,
    email_key      text        NOT NULL UNIQUE,
    password_hash  text        NOT NULL,
    roles          text[]      NOT NULL CHECK (
        roles <@ ARRAY['CUSTOMER', 'SUPPORT', 'OPERATOR', 'SERVICE', 'ADMIN']),
    email_verified boolean     NOT NULL,
    version        bigint      NOT NULL,
    create_time    timestamptz NOT NULL,
    update_time    timestamptz NOT NULL
);
CREATE INDEX users_admins ON users (user_id) WHERE 'ADMIN' = ANY (roles);

CREATE TABLE sessions (
    session_id  uuid        PRIMARY KEY,
    user_id     uuid        NOT NULL REFERENCES users,
    device      text        NOT NULL,
    address     text        NOT NULL,
    counter     bigint      NOT NULL CHECK (counter > 0),
    create_time timestamptz NOT NULL,
    use_time    timestamptz NOT NULL,
    expire_time timestamptz NOT NULL,
    end_time    timestamptz,
    end_reason  text,
    CHECK ((end_time IS NULL) = (end_reason IS NULL))
);
CREATE INDEX sessions_going_on ON sessions (user_id) WHERE end_time IS NULL;
CREATE INDEX sessions_by_expiry ON sessions (expire_time);

CREATE TABLE throttles (
    key          text        PRIMARY KEY,
    failures     integer     NOT NULL CHECK (failures >= 0),
    last_attempt timestamptz NOT NULL
);
CREATE INDEX throttles_by_age ON throttles (last_attempt);

CREATE TABLE service_clients (
    client_id            text        PRIMARY KEY,
    roles                text[]      NOT NULL CHECK (
        roles <@ ARRAY['CUSTOMER', 'SUPPORT', 'OPERATOR', 'SERVICE', 'ADMIN']),
    secret_hash          bytea       NOT NULL,
    previous_secret_hash bytea       NOT NULL,
    create_time          timestamptz NOT NULL,
    secret_time          timestamptz NOT NULL
);

CREATE TABLE signing_keys (
    key_id                text        PRIMARY KEY,
    public_key            bytea       NOT NULL,
    encrypted_private_key bytea       NOT NULL,
    sign_time             timestamptz NOT NULL
);
"""


def upgrade() -> None:
    op.execute(IDENTITY)
    op.execute(OUTBOX_V1)
    op.execute(REQUESTS_V1)


def downgrade() -> None:
    op.execute(
        "DROP TABLE sessions, users, throttles, service_clients, signing_keys, outbox, requests"
    )
    op.execute("DROP SEQUENCE outbox_seq")
