"""What readers were answered, by Redis or by Postgres: never what is not so, never the past."""

from __future__ import annotations

from ..history import Call, Outcome
from .facts import Facts, OrderRow, Violation, Violations

__all__ = ["cache_within_postgres", "reads_are_true", "reads_follow_writes"]


def reads_are_true(facts: Facts) -> Violations:
    """Each version that was read is one that Postgres has, in the state that it has there."""
    for call in _reads(facts):
        order = facts.orders.get(call.order_id)
        if problem := _problem(order, call.version, call.state):
            yield Violation("reads are true", f"read {problem}", call.order_id)


def reads_follow_writes(facts: Facts) -> Violations:
    """A read is not behind what its client was answered before."""
    for order_id, calls in facts.history.by_order().items():
        answered = [one for one in calls if one.version]
        for read in (one for one in answered if one.kind == "read"):
            known = [one.version for one in answered if one.ended < read.began]
            if known and read.version < max(known):
                text = f"read v{read.version} after v{max(known)} was answered"
                yield Violation("reads follow writes", text, order_id)


def cache_within_postgres(facts: Facts) -> Violations:
    """What Redis holds in the end is nothing that Postgres does not have."""
    for order_id, entry in facts.cache.items():
        order = facts.orders.get(order_id)
        if entry.version and (problem := _problem(order, entry.version, entry.state)):
            yield Violation("the cache is within Postgres", f"Redis has {problem}", order_id)


def _reads(facts: Facts) -> list[Call]:
    return facts.history.of("read", Outcome.ACKNOWLEDGED)


def _problem(order: OrderRow | None, version: int, state: str) -> str:
    if order is None:
        return f"v{version} {state} of an order that is not there"
    if order.timeline.get(version) == state or (not state and version <= order.version):
        return ""
    return f"v{version} {state}; Postgres has {order.timeline.get(version, 'no such version')}"
