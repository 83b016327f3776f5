"""Kafka: every fact of the outboxes once and in order, and every consumer at the end."""

from __future__ import annotations

from collections import Counter, defaultdict

from .facts import Facts, Record, Violation, Violations

__all__ = [
    "consumers_at_the_end",
    "events_in_order",
    "events_once_and_complete",
    "no_dead_letters",
    "orders_told_completely",
    "outboxes_published",
    "positions_only_go_forward",
]

_ORDERS = "trackops_order"


def events_once_and_complete(facts: Facts) -> Violations:
    """Each row of an outbox is one record, and each record is one of them."""
    name = "events once and complete"
    written = {(row.source, row.event_id): row for row in facts.outbox}
    seen = Counter((record.source, record.event_id) for record in facts.records)
    for key, row in written.items():
        if (times := seen[key]) != 1:
            text = f"{row.source} #{row.seq} {row.name} is {times} times in Kafka"
            yield Violation(name, text, row.key)
    for record in facts.records:
        if (record.source, record.event_id) not in written:
            text = f"{record.topic}[{record.partition}]@{record.offset} is in no outbox"
            yield Violation(name, text, record.key)


def events_in_order(facts: Facts) -> Violations:
    """Records of one aggregate lie in one partition, in the order of its versions and of `seq`."""
    name = "events in order"
    by_key: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in facts.records:
        # A topic may tell of aggregates of several kinds under one key's name.
        by_key[record.topic, record.source, record.key].append(record)
    for (topic, _, key), records in by_key.items():
        if len({record.partition for record in records}) > 1:
            yield Violation(name, f"in several partitions of {topic}", key)
        for what in ("version", "seq"):
            order = [getattr(record, what) for record in records]
            if order != sorted(set(order)):
                yield Violation(name, f"{what} on {topic}: {order}", key)


def orders_told_completely(facts: Facts) -> Violations:
    """An order's events are its versions from the first to the last, each once."""
    versions: dict[str, list[int]] = defaultdict(list)
    for record in facts.records:
        if record.source == _ORDERS:
            versions[record.key].append(record.version)
    for order in facts.orders.values():
        if sorted(versions[order.order_id]) != list(range(1, order.version + 1)):
            text = f"at v{order.version}, and Kafka has {sorted(versions[order.order_id])}"
            yield Violation("orders told completely", text, order.order_id)


def outboxes_published(facts: Facts) -> Violations:
    """No row of an outbox lies above the relay's checkpoint."""
    last: dict[str, int] = {}
    for row in facts.outbox:
        last[row.source] = max(row.seq, last.get(row.source, 0))
    for source, seq in last.items():
        if seq > (checkpoint := facts.checkpoints.get(source, 0)):
            text = f"{source} is at #{checkpoint}, its outbox at #{seq}"
            yield Violation("outboxes published", text)


def consumers_at_the_end(facts: Facts) -> Violations:
    """No committed record lies at or after a consumer's stored position."""
    for place, next_offset in facts.positions.items():
        last = facts.last_offsets.get(place, -1)
        if last >= next_offset:
            text = f"{place[0]}[{place[1]}]: stands at {next_offset}, the last record at {last}"
            yield Violation("consumers at the end", text)


def positions_only_go_forward(facts: Facts) -> Violations:
    """Nobody who was overtaken moved a position: as the observer saw it."""
    for oddity in facts.oddities:
        if oddity.kind == "position":
            text = f"{oddity.subject}: {oddity.was} became {oddity.became}"
            yield Violation("positions only go forward", text)


def no_dead_letters(facts: Facts) -> Violations:
    """Every message could be handled: faults around it do not make it a bad one."""
    if facts.dead_letters:
        yield Violation("no dead letters", f"there are {facts.dead_letters}")
