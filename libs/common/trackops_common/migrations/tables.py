"""The tables that every service has alike, for use in migrations.

A function is never changed once released: a new shape is a new function.
"""

from __future__ import annotations

__all__ = ["CONSUMER_OFFSETS_V1", "DEAD_LETTERS_V1", "OUTBOX_V1", "REQUESTS_V1"]

OUTBOX_V1 = """
CREATE SEQUENCE outbox_seq CACHE 1;
CREATE TABLE outbox (
    seq               bigint      NOT NULL DEFAULT nextval('outbox_seq') PRIMARY KEY,
    event_id          uuid        NOT NULL,
    topic             text        NOT NULL,
    key               text        NOT NULL,
    type              text        NOT NULL,
    aggregate_version bigint      NOT NULL,
    payload           bytea       NOT NULL,
    occurred_at       timestamptz NOT NULL,
    traceparent       text        NOT NULL DEFAULT ''
) PARTITION BY RANGE (seq);
DO $$ BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO trackops_outbox_relay', current_schema());
    EXECUTE format('GRANT SELECT ON %I.outbox TO trackops_outbox_relay', current_schema());
END $$;
"""
"""Facts on their way to Kafka; the relay's role may read them, and nothing else of the schema."""

REQUESTS_V1 = """
CREATE TABLE requests (
    request_key  uuid  NOT NULL,
    created_on   date  NOT NULL DEFAULT current_date,
    request_hash bytea NOT NULL,
    response     bytea NOT NULL,
    PRIMARY KEY (request_key, created_on)
) PARTITION BY RANGE (created_on);
"""
"""What each request was answered (see `trackops_common.idempotency`)."""

CONSUMER_OFFSETS_V1 = """
CREATE TABLE consumer_offsets (
    consumer    text   NOT NULL,
    topic       text   NOT NULL,
    partition   int    NOT NULL,
    topic_id    text   NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (consumer, topic, partition)
) WITH (fillfactor = 50);
"""
"""How far each partition was consumed (see `trackops_common.inbox`)."""

DEAD_LETTERS_V1 = """
CREATE TABLE dead_letters (
    dead_letter_id uuid        NOT NULL PRIMARY KEY,
    consumer       text        NOT NULL,
    topic          text        NOT NULL,
    partition      int         NOT NULL,
    message_offset bigint      NOT NULL,
    problem        text        NOT NULL,
    dead_time      timestamptz NOT NULL DEFAULT now(),
    replay_of      uuid,
    replay_time    timestamptz,
    replay_reason  text
);
CREATE INDEX dead_letters_by_place
    ON dead_letters (consumer, topic, partition, message_offset) WHERE replay_of IS NULL;
"""
"""What became a dead letter, and which were replayed (see `trackops_common.dead_letters`)."""
