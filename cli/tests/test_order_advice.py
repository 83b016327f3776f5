"""Why an order does not go on, and the one time line of what is known about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from trackops.order.v1 import order_pb2
from trackops.order.v1.order_service_pb2 import TimelineEntry
from trackops.relay.v1 import relay_service_pb2 as relay
from trackops.saga.v1 import saga_pb2

from trackops_cli.order.advice import advise
from trackops_cli.order.story import Story, moments

BEGIN = datetime(2026, 11, 23, 10, tzinfo=UTC)
LATER = BEGIN + timedelta(minutes=1)


def at(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(BEGIN + timedelta(seconds=seconds))
    return stamp


def order(state: order_pb2.OrderState.ValueType = order_pb2.ORDER_STATE_PENDING) -> order_pb2.Order:
    return order_pb2.Order(order_id="o-1", state=state, update_time=at(0))


def saga(
    state: saga_pb2.SagaState.ValueType, *steps: saga_pb2.SagaStep, **more: Any
) -> saga_pb2.Saga:
    return saga_pb2.Saga(
        saga_id="s-1",
        definition="place-order",
        state=state,
        steps=steps,
        create_time=at(1),
        update_time=at(9),
        **more,
    )


def event(state: relay.EventState.ValueType, seq: int = 7) -> relay.Event:
    return relay.Event(
        source="trackops_order",
        seq=seq,
        type="trackops.order.v1.OrderPlaced",
        occur_time=at(0),
        state=state,
        topic="trackops.order.events.v1",
    )


STUCK = saga_pb2.SagaStep(
    name="authorize-payment",
    state=saga_pb2.STEP_STATE_EXHAUSTED,
    attempts=9,
    error="no answer",
    update_time=at(9),
)
RETRIED = saga_pb2.SagaStep(
    name="authorize-payment",
    state=saga_pb2.STEP_STATE_SENT,
    attempts=2,
    error="no answer",
    update_time=at(3),
    next_try_time=at(20),
    attempt_log=[saga_pb2.SagaAttempt(number=1, end_time=at(2), error="no answer")],
)
PARKED = saga_pb2.SagaStep(
    name="authorize-payment",
    state=saga_pb2.STEP_STATE_SENT,
    error="payment is away",
    parked=True,
)
PAUSED = saga_pb2.SagaAuditEntry(operation="pause", principal="ada", reason="to look")
PUBLISHED, WAITING = relay.EVENT_STATE_PUBLISHED, relay.EVENT_STATE_WAITING


@pytest.mark.parametrize(
    ("story", "problem", "todo"),
    [
        (
            Story(order(), [], [saga(saga_pb2.SAGA_STATE_NEEDS_OPERATOR, STUCK)]),
            "authorize-payment is EXHAUSTED after 9 attempts: no answer",
            "trackops saga retry s-1 authorize-payment",
        ),
        (
            Story(order(), [], [saga(saga_pb2.SAGA_STATE_PAUSED, audit=[PAUSED])]),
            "PAUSED by ada: to look",
            "trackops saga resume s-1",
        ),
        (
            Story(order(), [], [saga(saga_pb2.SAGA_STATE_QUEUED, waits_for="s-0")]),
            "behind saga s-0",
            "trackops saga show s-0",
        ),
        (
            Story(order(), [], [saga(saga_pb2.SAGA_STATE_RUNNING, PARKED)]),
            "waits with authorize-payment: payment is away",
            "bring that service back",
        ),
        (
            Story(order(), [], [saga(saga_pb2.SAGA_STATE_RUNNING, RETRIED)]),
            "tries authorize-payment again and again, 1 times in vain: no answer",
            "trackops saga retry s-1 authorize-payment",
        ),
        (
            Story(order(), [], events=[event(relay.EVENT_STATE_QUARANTINED)]),
            "trackops_order #7 OrderPlaced cannot be published",
            "trackops outbox replay trackops_order o-1",
        ),
        (
            Story(order(), [], events=[event(WAITING)]),
            "trackops_order #7 OrderPlaced is not published",
            "trackops outbox list",
        ),
        (
            Story(order(), [], events=[event(PUBLISHED)]),
            "the order is PENDING and no saga knows it",
            "trackops deadletters list",
        ),
    ],
    ids=[
        "needs operator",
        "paused",
        "queued",
        "parked",
        "retried",
        "quarantined",
        "behind",
        "lost",
    ],
)
def test_what_holds_an_order_up_is_told_with_the_way_on(
    story: Story, problem: str, todo: str
) -> None:
    (advice,) = advise(story, LATER)

    assert problem in advice.problem
    assert todo in advice.todo


@pytest.mark.parametrize(
    "story",
    [
        Story(order(order_pb2.ORDER_STATE_CONFIRMED), [], [saga(saga_pb2.SAGA_STATE_COMPLETED)]),
        Story(order(order_pb2.ORDER_STATE_REJECTED), [], events=[event(PUBLISHED)]),
        Story(order(), [], missing=["saga_orchestrator"]),
    ],
    ids=["confirmed", "rejected", "not known"],
)
def test_nothing_is_said_of_an_order_that_goes_its_way(story: Story) -> None:
    assert advise(story, LATER) == []


def test_a_moment_is_not_yet_a_delay() -> None:
    assert advise(Story(order(), [], events=[event(WAITING)]), BEGIN) == []
    assert advise(Story(order(), [], events=[event(PUBLISHED)]), BEGIN) == []


def test_rows_of_a_key_that_wait_are_one_piece_of_advice() -> None:
    rows = [event(relay.EVENT_STATE_QUARANTINED, seq) for seq in (7, 8, 9)]

    assert len(advise(Story(order(), [], events=rows), LATER)) == 1


def test_all_tellers_are_in_one_line_of_time() -> None:
    changes = [
        TimelineEntry(version=1, state=order_pb2.ORDER_STATE_PENDING, enter_time=at(0)),
        TimelineEntry(
            version=2,
            state=order_pb2.ORDER_STATE_REJECTED,
            enter_time=at(8),
            rejection=order_pb2.Rejection(reason="OUT", message="none left"),
        ),
    ]
    placed = event(PUBLISHED)
    placed.partition, placed.offset = 3, 0
    replayed = relay.Operation(kind="replay", principal="ada", reason="made it", request_time=at(5))
    waiting = saga_pb2.SagaStep(
        name="confirm-order", state=saga_pb2.STEP_STATE_WAITING, update_time=at(1)
    )
    running = saga(saga_pb2.SAGA_STATE_RUNNING, RETRIED, waiting)

    story = Story(order(), changes, [running], [placed], [("trackops_order", replayed)])

    assert [(one.teller, one.what) for one in moments(story)] == [
        ("order", "v1 PENDING"),
        ("outbox", "OrderPlaced PUBLISHED"),
        ("saga", "place-order begins"),
        ("saga", "authorize-payment attempt 1 failed"),
        ("saga", "authorize-payment SENT"),
        ("operator", "ada: replay trackops_order"),
        ("order", "v2 REJECTED"),
        ("saga", "place-order RUNNING"),
        ("saga", "authorize-payment is due"),
    ]
    assert moments(story)[1].detail == "trackops_order #7 trackops.order.events.v1[3]@0"
    assert moments(story)[6].detail == "OUT: none left"
    assert story.document()["timeline"][3]["step"] == "authorize-payment"
