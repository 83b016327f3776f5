"""The judge of the mesh: a small world that is sound, and each invariant violated once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from trackops_payment.adapters.simulator_books import Entry

from .mesh.checker import INVARIANTS, Facts, check
from .mesh.checker.facts import (
    CacheEntry,
    LogLine,
    Movement,
    OrderLine,
    OrderRow,
    OutboxRow,
    Payment,
    Record,
    Reservation,
    ReservedItem,
    SagaRow,
    Vitals,
)
from .mesh.history import Call, History, Outcome
from .mesh.observer import Oddity

KEPT, SENT, GONE = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")
"""An order that was confirmed, one of which a piece came back, one that was rejected."""
TOPIC = "trackops.order.events.v1"
REFUSED, UNKNOWN = Outcome.REFUSED, Outcome.UNKNOWN


def call(kind: str, order_id: str, version: int, state: str, **more: Any) -> Call:
    usual: dict[str, Any] = {
        "request_id": f"{kind}-{order_id[:1]}",
        "principal": "client",
        "outcome": Outcome.ACKNOWLEDGED,
        "code": "OK",
        "reason": "",
        "began": 10.0 * version,
        "ended": 10.0 * version + 1,
    }
    return Call(kind=kind, order_id=order_id, version=version, state=state, **usual | more)


HISTORY = (
    call("create", KEPT, 1, "PENDING"),
    call("create", SENT, 1, "PENDING"),
    call("create", GONE, 1, "PENDING"),
    call("create other body", KEPT, 0, "", outcome=REFUSED, reason="REQUEST_ID_REUSED"),
    call("read", SENT, 2, "CONFIRMED"),
    call("ship", SENT, 3, "SHIPPED", pieces={"TEA": 2}),
    call("return", SENT, 4, "PARTIALLY_RETURNED", pieces={"TEA": 1}),
)


def order(order_id: str, timeline: str, **line: int) -> OrderRow:
    states = dict(enumerate(timeline.split(), 1))
    lines = {"TEA": OrderLine(2, 500, **line)}
    last = states[len(states)]
    return OrderRow(order_id, f"create-{order_id[0]}", last, len(states), 1_000, lines, states)


ORDERS = {
    KEPT: order(KEPT, "PENDING CONFIRMED"),
    SENT: order(SENT, "PENDING CONFIRMED SHIPPED PARTIALLY_RETURNED", shipped=2, returned=1),
    GONE: order(GONE, "PENDING REJECTED"),
}


def event(source: str, seq: int, key: str, name: str, version: int, **items: int) -> OutboxRow:
    return OutboxRow(source, seq, f"{source}-{seq}", key, name, version, items)


OUTBOX = (
    event("trackops_order", 1, KEPT, "OrderPlaced", 1),
    event("trackops_order", 2, KEPT, "OrderConfirmed", 2),
    event("trackops_order", 3, SENT, "OrderPlaced", 1),
    event("trackops_order", 4, SENT, "OrderConfirmed", 2),
    event("trackops_order", 5, SENT, "OrderShipped", 3),
    event("trackops_order", 6, SENT, "OrderReturned", 4),
    event("trackops_order", 7, GONE, "OrderPlaced", 1),
    event("trackops_order", 8, GONE, "OrderRejected", 2),
    event("trackops_inventory", 1, "TEA", "StockAdjusted", 1, TEA=10),
    event("trackops_inventory", 2, KEPT, "StockReserved", 1, TEA=2),
    event("trackops_inventory", 3, SENT, "StockReserved", 1, TEA=2),
    event("trackops_inventory", 4, SENT, "StockCommitted", 2, TEA=2),
    event("trackops_inventory", 5, SENT, "StockRestocked", 3, TEA=1),
    event("trackops_inventory", 6, GONE, "StockReserved", 1, TEA=2),
    event("trackops_inventory", 7, GONE, "StockReleased", 2, TEA=2),
)
SCARCE = event("trackops_inventory", 1, "TEA", "StockAdjusted", 1, TEA=1)
RECORDS = tuple(
    Record(TOPIC, 0, offset, row.source, row.seq, row.event_id, row.key, row.name, row.version)
    for offset, row in enumerate(OUTBOX)
)
LEDGER = {
    f"authorize-{KEPT}": Entry("authorize", "auth-a", 1_000),
    f"authorize-{SENT}": Entry("authorize", "auth-b", 1_000),
    f"capture-{SENT}-1": Entry("capture", "auth-b", 1_000),
    f"refund-{SENT}-1": Entry("refund", "auth-b", 500),
    f"authorize-{GONE}": Entry("authorize", "auth-c", 1_000, "card_declined"),
}
MOVEMENTS = (Movement("CAPTURE", "DONE", 1_000), Movement("REFUND", "DONE", 500))
SOUND = Facts(
    history=History(HISTORY),
    stocked={"TEA": 10},
    orders=ORDERS,
    stock={"TEA": (9, 2)},
    reservations={
        KEPT: Reservation("HELD", {"TEA": ReservedItem(2)}),
        SENT: Reservation("COMMITTED", {"TEA": ReservedItem(2, 2, 1)}),
        GONE: Reservation("RELEASED", {"TEA": ReservedItem(2)}),
    },
    payments={
        KEPT: Payment("AUTHORIZED", 1_000, "auth-a"),
        SENT: Payment("CAPTURED", 1_000, "auth-b", 1_000, 500, MOVEMENTS),
        GONE: Payment("DECLINED", 1_000, None),
    },
    ledger=LEDGER,
    sagas=[
        SagaRow("1", "place-order", KEPT, "COMPLETED"),
        SagaRow("2", "return-order", SENT, "NEEDS_OPERATOR", "REFUSED"),
    ],
    outbox=OUTBOX,
    records=RECORDS,
    checkpoints={"trackops_order": 8, "trackops_inventory": 7},
    positions={(TOPIC, 0): len(RECORDS)},
    last_offsets={(TOPIC, 0): len(RECORDS) - 1},
    cache={SENT: CacheEntry(4, "PARTIALLY_RETURNED"), KEPT: CacheEntry(2, "")},
    vitals=[Vitals("order/1", float(n), 100.0, 20) for n in range(12)],
    clean_up_seconds=2.0,
)


def also(*calls: Call) -> Facts:
    return replace(SOUND, history=History([*HISTORY, *calls]))


def ordered(order_id: str, **changes: Any) -> Facts:
    return replace(SOUND, orders={**ORDERS, order_id: replace(ORDERS[order_id], **changes)})


def paid(order_id: str, **changes: Any) -> Facts:
    payment = replace(SOUND.payments[order_id], **changes)
    return replace(SOUND, payments={**SOUND.payments, order_id: payment})


def told(key: str, *entry: Any) -> Facts:
    return replace(SOUND, ledger={**LEDGER, key: Entry(*entry)})


def logged(change: Callable[[list[Record]], object]) -> Facts:
    records = list(RECORDS)
    change(records)
    return replace(SOUND, records=records)


def without(order_id: str) -> Facts:
    return replace(SOUND, orders={k: v for k, v in ORDERS.items() if k != order_id})


VIOLATED: dict[str, tuple[str, Facts]] = {
    "an acknowledged order is lost": ("acknowledged orders exist once", without(KEPT)),
    "a request made two orders": (
        "acknowledged orders exist once",
        ordered(GONE, request_id="create-a"),
    ),
    "a request was answered with two orders": (
        "acknowledged orders exist once",
        also(call("create", SENT, 1, "PENDING", request_id="create-a")),
    ),
    "an order that nobody asked for": (
        "acknowledged orders exist once",
        ordered(GONE, request_id="?"),
    ),
    "another body was taken": (
        "other bodies are refused",
        also(call("create other body", KEPT, 2, "CONFIRMED")),
    ),
    "an acknowledged change is gone": (
        "acknowledged changes stand",
        also(call("deliver", SENT, 5, "DELIVERED")),
    ),
    "a cancelled order lives": (
        "acknowledged changes stand",
        also(call("cancel", KEPT, 2, "CONFIRMED")),
    ),
    "an acknowledged shipment is not in the lines": (
        "acknowledged changes stand",
        also(call("ship", SENT, 3, "SHIPPED", request_id="other", pieces={"TEA": 1})),
    ),
    "pieces left that nobody sent": (
        "acknowledged changes stand",
        ordered(SENT, lines={"TEA": OrderLine(3, 500, 3, 1)}),
    ),
    "an order is stuck": ("every order at rest", ordered(KEPT, state="PENDING")),
    "a saga is stuck": (
        "every saga ended",
        replace(SOUND, sagas=[SagaRow("1", "place-order", KEPT, "RUNNING")]),
    ),
    "a saga needs an operator and does not say why": (
        "every saga ended",
        replace(SOUND, sagas=[SagaRow("1", "place-order", KEPT, "NEEDS_OPERATOR")]),
    ),
    "a saga lived again": (
        "what has ended stays so",
        replace(SOUND, oddities=[Oddity("saga", KEPT, "COMPLETED", "RUNNING")]),
    ),
    "a piece is missing": ("stock adds up", replace(SOUND, stock={"TEA": (8, 2)})),
    "a piece is reserved for nobody": ("stock adds up", replace(SOUND, stock={"TEA": (9, 3)})),
    "more was promised than there was": (
        "stock never below zero",
        replace(SOUND, outbox=[*OUTBOX[:8], SCARCE, *OUTBOX[9:]]),
    ),
    "stock moved without an event": (
        "stock never below zero",
        replace(SOUND, outbox=OUTBOX[:-1]),
    ),
    "a rejected order keeps its pieces": (
        "reservations match orders",
        replace(SOUND, reservations={**SOUND.reservations, GONE: SOUND.reservations[KEPT]}),
    ),
    "a confirmed order holds no pieces": (
        "reservations match orders",
        replace(SOUND, reservations={**SOUND.reservations, KEPT: SOUND.reservations[GONE]}),
    ),
    "a confirmed order has no payment": (
        "payments match orders",
        replace(SOUND, payments={SENT: SOUND.payments[SENT]}),
    ),
    "a rejected order's money is held": (
        "payments match orders",
        paid(GONE, state="AUTHORIZED"),
    ),
    "too little was given back": ("payments match orders", paid(SENT, refunded_minor=499)),
    "a capture has no outcome": (
        "payments match orders",
        paid(SENT, movements=[*MOVEMENTS, Movement("CAPTURE", "SENT", 1)]),
    ),
    "the provider holds twice": (
        "nothing charged twice",
        told(f"authorize-{KEPT}-again", "authorize", "auth-d", 1_000),
    ),
    "the provider took twice": (
        "nothing charged twice",
        told(f"capture-{SENT}-2", "capture", "auth-b", 1_000),
    ),
    "the provider never let go": (
        "the provider's ledger agrees",
        told(f"authorize-{GONE}", "authorize", "auth-c", 1_000),
    ),
    "the provider let go of what is needed": (
        "the provider's ledger agrees",
        told(f"void-{KEPT}", "void", "auth-a", 0),
    ),
    "the provider gave back too much": (
        "the provider's ledger agrees",
        told(f"refund-{SENT}-2", "refund", "auth-b", 1),
    ),
    "an event is lost": ("events once and complete", logged(lambda all_: all_.pop(8))),
    "an event is there twice": (
        "events once and complete",
        logged(lambda all_: all_.append(all_[8])),
    ),
    "an event of nobody": (
        "events once and complete",
        logged(lambda all_: all_.append(replace(all_[8], event_id="?", seq=9))),
    ),
    "events change places": (
        "events in order",
        logged(lambda all_: all_.insert(0, all_.pop(1))),
    ),
    "an order's events are in two partitions": (
        "events in order",
        logged(lambda all_: all_.insert(1, replace(all_.pop(1), partition=1))),
    ),
    "an order's event was never written": ("orders told completely", ordered(KEPT, version=3)),
    "a row is not published": (
        "outboxes published",
        replace(SOUND, checkpoints={"trackops_order": 7, "trackops_inventory": 7}),
    ),
    "a consumer is behind": (
        "consumers at the end",
        replace(SOUND, positions={(TOPIC, 0): len(RECORDS) - 1}),
    ),
    "a position went back": (
        "positions only go forward",
        replace(SOUND, oddities=[Oddity("position", "c t 0", "9", "7")]),
    ),
    "a message was given up": ("no dead letters", replace(SOUND, dead_letters=1)),
    "a read saw a version from nowhere": (
        "reads are true",
        also(call("read", KEPT, 3, "SHIPPED")),
    ),
    "a read saw another state": ("reads are true", also(call("read", KEPT, 2, "REJECTED"))),
    "a read saw the past": (
        "reads follow writes",
        also(call("read", SENT, 2, "CONFIRMED", began=90.0, ended=91.0)),
    ),
    "the cache is ahead": (
        "the cache is within Postgres",
        replace(SOUND, cache={KEPT: CacheEntry(3, "SHIPPED")}),
    ),
    "the cache tells of an order that is not there": (
        "the cache is within Postgres",
        replace(SOUND, cache={"nowhere": CacheEntry(1, "PENDING")}),
    ),
    "it took too long": ("at rest in time", replace(SOUND, clean_up_seconds=61.0)),
    "an error for no reason": (
        "no errors while unharmed",
        replace(SOUND, errors=[LogLine("order-1", 5.0, "boom")]),
    ),
    "a password in a log": ("no secret in a log", replace(SOUND, leaks=["postgres in a.log"])),
    "a process gave up": ("no process ends by itself", replace(SOUND, deaths=["order/1 with 1"])),
    "memory grows": (
        "nothing grows",
        replace(SOUND, vitals=[Vitals("order/1", n, 100 + 20 * n, 20) for n in range(12)]),
    ),
    "connections grow": (
        "nothing grows",
        replace(SOUND, vitals=[Vitals("order/1", 0, 100, 1_000)]),
    ),
}


def test_a_sound_world_has_no_violations() -> None:
    assert check(SOUND) == []


@pytest.mark.parametrize("what", VIOLATED)
def test_each_violation_is_seen(what: str) -> None:
    invariant, facts = VIOLATED[what]

    assert invariant in {violation.invariant for violation in check(facts)}


def test_each_invariant_has_a_violation_here() -> None:
    """Functions and names are told apart by what the functions find."""
    worlds = [facts for _, facts in VIOLATED.values()]
    seen = {one for one in INVARIANTS for facts in worlds if list(one(facts))}

    assert seen == set(INVARIANTS)


def test_an_unknown_outcome_may_have_taken_effect_or_not() -> None:
    pieces = {"TEA": 2}
    unknown = call("ship", KEPT, 0, "", outcome=UNKNOWN, code="UNAVAILABLE", pieces=pieces)
    lost = call("create", "", 0, "", outcome=UNKNOWN, code="UNAVAILABLE", request_id="lost")

    assert check(also(unknown, lost)) == []
