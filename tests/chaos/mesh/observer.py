"""Triggers in the mesh's database that note what must never happen, also where it leaves no trace.

A position that goes back and forth again, or an ended saga that lives again and ends the same way,
cannot be seen in what stands in the tables afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg2

__all__ = ["Oddity", "observe", "oddities"]

_INSTALL = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.oddities (
    kind    text NOT NULL,
    subject text NOT NULL,
    was     text NOT NULL,
    became  text NOT NULL
);
CREATE FUNCTION chaos.note_position() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    INSERT INTO chaos.oddities VALUES ('position', OLD.consumer || ' ' || OLD.topic || ' '
        || OLD.partition, OLD.next_offset::text, NEW.next_offset::text);
    RETURN NULL;
END $$;
CREATE FUNCTION chaos.note_saga() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    INSERT INTO chaos.oddities VALUES ('saga', OLD.subject, OLD.definition || ' ' || OLD.state
        || ' epoch ' || OLD.epoch, NEW.state || ' epoch ' || NEW.epoch);
    RETURN NULL;
END $$;
CREATE FUNCTION chaos.note_order() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    INSERT INTO chaos.oddities VALUES ('order', OLD.order_id::text, OLD.state || ' v'
        || OLD.version, NEW.state || ' v' || NEW.version);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER UPDATE ON trackops_saga_orchestrator.consumer_offsets
    FOR EACH ROW WHEN (NEW.next_offset <= OLD.next_offset) EXECUTE FUNCTION chaos.note_position();
CREATE TRIGGER chaos AFTER UPDATE ON trackops_saga_orchestrator.sagas
    FOR EACH ROW WHEN (NEW.epoch < OLD.epoch
        OR OLD.state IN ('COMPLETED', 'COMPENSATED') AND NEW.state <> OLD.state)
    EXECUTE FUNCTION chaos.note_saga();
CREATE TRIGGER chaos AFTER UPDATE ON trackops_order.orders
    FOR EACH ROW WHEN (NEW.version <> OLD.version + 1
        OR OLD.state IN ('REJECTED', 'CANCELLED', 'RETURNED'))
    EXECUTE FUNCTION chaos.note_order();
"""


@dataclass(frozen=True, slots=True)
class Oddity:
    """One thing that must never happen."""

    kind: str
    """`position`, `saga` or `order`."""
    subject: str
    """Which position; of a saga and an order, the order's id."""
    was: str
    became: str


def observe(admin_url: str) -> None:
    """Install the triggers, as the superuser, once every schema is migrated."""
    with closing(psycopg2.connect(admin_url)) as connection, connection.cursor() as cursor:
        cursor.execute(_INSTALL)
        connection.commit()


def oddities(admin_url: str) -> Sequence[Oddity]:
    """What was noted."""
    with closing(psycopg2.connect(admin_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT kind, subject, was, became FROM chaos.oddities")
        return [Oddity(*row) for row in cursor.fetchall()]
