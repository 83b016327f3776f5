"""Orders and sagas: what was promised to clients, and that everything has come to its end."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from ..history import Outcome
from .facts import Facts, Violation, Violations

__all__ = [
    "acknowledged_changes_stand",
    "acknowledged_orders_exist_once",
    "ended_sagas_stay_ended",
    "every_order_at_rest",
    "every_saga_ended",
    "other_bodies_are_refused",
]

_MOVING = {"PENDING", "CANCELLING"}
_ENDED = {"COMPLETED", "COMPENSATED"}


def acknowledged_orders_exist_once(facts: Facts) -> Violations:
    """Each acknowledged creation is one order; an unacknowledged one is one at most."""
    yield from _answered_orders(facts)
    name = "acknowledged orders exist once"
    asked = {call.request_id for call in facts.history.of("create")}
    for request_id, orders in facts.by_request.items():
        if len(orders) > 1:
            ids = sorted(order.order_id for order in orders)
            yield Violation(name, f"request {request_id} made {ids}", ids[0])
        if request_id not in asked:
            yield Violation(name, "nobody asked for it", orders[0].order_id)


def _answered_orders(facts: Facts) -> Violations:
    name = "acknowledged orders exist once"
    answered: dict[str, set[str]] = {}
    for call in facts.history.of("create", Outcome.ACKNOWLEDGED):
        answered.setdefault(call.request_id, set()).add(call.order_id)
    for request_id, order_ids in answered.items():
        if len(order_ids) > 1:
            yield Violation(name, f"request {request_id} was answered with {sorted(order_ids)}")
        for order_id in order_ids - facts.orders.keys():
            yield Violation(name, "acknowledged, and there is no such order", order_id)


def other_bodies_are_refused(facts: Facts) -> Violations:
    """A request's id with another body is refused, and says why."""
    for call in facts.history.of("create other body"):
        refused = call.outcome is Outcome.REFUSED and call.reason == "REQUEST_ID_REUSED"
        if not refused and call.outcome is not Outcome.UNKNOWN:
            text = f"the same id with another body: {call.code} {call.reason}"
            yield Violation("other bodies are refused", text, call.order_id)


def acknowledged_changes_stand(facts: Facts) -> Violations:
    """What a client was told of a change is in the order's timeline for ever."""
    name = "acknowledged changes stand"
    for call in facts.history.calls:
        order = facts.orders.get(call.order_id)
        if order is None or call.outcome is not Outcome.ACKNOWLEDGED or not call.version:
            continue
        if call.kind != "read" and order.timeline.get(call.version) != call.state:
            text = f"{call.kind} was acknowledged as v{call.version} {call.state}"
            yield Violation(
                name, f"{text}; the timeline is {_shown(order.timeline)}", call.order_id
            )
        if call.kind == "cancel" and order.state != "CANCELLED":
            yield Violation(name, f"cancelled, and ended {order.state}", call.order_id)
    yield from _pieces_moved(facts)


def _pieces_moved(facts: Facts) -> Violations:
    """Each shipment and each return that was acknowledged is in the lines, once."""
    for kind, moved in (("ship", "shipped"), ("return", "returned")):
        calls = sorted(
            (c for c in facts.history.of(kind) if c.order_id in facts.orders),
            key=lambda call: call.order_id,
        )
        for order_id, about in groupby(calls, key=lambda call: call.order_id):
            asked = {one.request_id: one.pieces for one in calls if one.order_id == order_id}
            sure = {one.request_id for one in about if one.outcome is Outcome.ACKNOWLEDGED}
            for sku, line in facts.orders[order_id].lines.items():
                least = sum(asked[request].get(sku, 0) for request in sure)
                most = sum(pieces.get(sku, 0) for pieces in asked.values())
                found = getattr(line, moved)
                if not least <= found <= most:
                    text = f"{found} of {sku} {moved}; acknowledged {least}, asked for {most}"
                    yield Violation("acknowledged changes stand", text, order_id)


def every_order_at_rest(facts: Facts) -> Violations:
    """No order waits for anything but a client."""
    for order in facts.orders.values():
        if order.state in _MOVING:
            yield Violation("every order at rest", f"still {order.state}", order.order_id)


def every_saga_ended(facts: Facts) -> Violations:
    """Every saga is over, or needs an operator and says why."""
    for saga in facts.sagas:
        held = saga.state == "NEEDS_OPERATOR" and saga.failure_reason
        if saga.state not in _ENDED and not held:
            text = f"{saga.definition} {saga.saga_id} is still {saga.state}"
            yield Violation("every saga ended", text, saga.subject)


def ended_sagas_stay_ended(facts: Facts) -> Violations:
    """No saga lives again, no epoch and no version goes back: as the observer saw it."""
    for oddity in facts.oddities:
        if oddity.kind in ("saga", "order"):
            text = f"{oddity.kind}: {oddity.was} became {oddity.became}"
            yield Violation("what has ended stays so", text, oddity.subject)


def _shown(timeline: Mapping[int, str]) -> str:
    return ", ".join(f"v{version} {state}" for version, state in sorted(timeline.items()))
