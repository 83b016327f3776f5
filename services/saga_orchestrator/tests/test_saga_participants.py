"""The gRPC adapter against a server that answers as it is told."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.rpc import code_pb2, status_pb2
from trackops.order.v1.order_saga_service_pb2 import CloseOrderRequest

from trackops_common.grpc.channels import open_channel
from trackops_common.grpc.validation import validation_failure
from trackops_saga_orchestrator.adapters.participants import grpc_participants
from trackops_saga_orchestrator.application.ports import Participants
from trackops_saga_orchestrator.domain.commands import Phase, StepCommand
from trackops_saga_orchestrator.domain.definitions import DEFINITIONS
from trackops_saga_orchestrator.domain.participants import inventory, order, payment
from trackops_saga_orchestrator.domain.place_order import OrderToPlace
from trackops_saga_orchestrator.domain.progress import Done, Failure, Refused, Unknown
from trackops_saga_orchestrator.domain.steps import Action

from .participant_server import Participant, serving, status

INPUT = OrderToPlace([("TEA-1", 2), ("CUP-1", 1)], 1299, "EUR", "tok_visa").to_input()

NOBODY_THERE = (
    code_pb2.UNAVAILABLE,
    code_pb2.DEADLINE_EXCEEDED,
    code_pb2.UNAUTHENTICATED,
    code_pb2.PERMISSION_DENIED,
)


@pytest.fixture
def participant() -> Participant:
    return Participant()


@pytest.fixture
async def participants(participant: Participant) -> AsyncIterator[Participants]:
    async with serving(participant) as target, open_channel(target) as channel:
        yield grpc_participants(
            inventory_channel=channel, payment_channel=channel, order_channel=channel
        )


def command(action: Action, number: int = 0, deadline: float = 5) -> StepCommand:
    return StepCommand(
        saga_id=uuid.UUID(int=number),
        subject=f"order-{number}",
        input=INPUT,
        step="some-step",
        phase=Phase.ACTION,
        action=action,
        deadline_seconds=deadline,
        failure=Failure("PAYMENT_DECLINED", "the card was declined"),
    )


async def test_every_action_of_the_definitions_is_bound(participants: Participants) -> None:
    for action in DEFINITIONS.actions:
        outcomes = await participants[action]([command(action, 0), command(action, 1)])
        assert outcomes == [Done(), Done()]


async def test_requests_carry_what_the_contract_wants(
    participants: Participants, participant: Participant
) -> None:
    for action in (inventory.reserve, payment.authorize, order.close):
        await participants[action]([command(action)])
    reserve, authorize, close = (request.requests[0] for request in participant.requests)
    assert {one.request_id for one in (reserve, authorize, close)} == {
        command(inventory.reserve).request_id
    }
    assert [(item.sku, item.quantity) for item in reserve.items] == [("TEA-1", 2), ("CUP-1", 1)]
    assert (authorize.amount_minor, authorize.currency_code) == (1299, "EUR")
    assert authorize.payment_method_token == "tok_visa"
    assert (close.reason, close.message) == ("PAYMENT_DECLINED", "the card was declined")


async def test_goods_that_moved_are_told_with_their_price(
    participants: Participants, participant: Participant
) -> None:
    actions = (inventory.commit, inventory.restock, payment.capture, payment.refund)
    for action in actions:
        await participants[action]([command(action)])
    commit, restock, capture, refund = (one.requests[0] for one in participant.requests)
    for items in (commit.items, restock.items):
        assert [(item.sku, item.quantity) for item in items] == [("TEA-1", 2), ("CUP-1", 1)]
    assert (capture.amount_minor, refund.amount_minor) == (1299, 1299)
    for request in (commit, restock, capture, refund):
        assert validation_failure(altered_order(request)) is None


async def test_order_that_is_cancelled_is_closed_for_a_reason(
    participants: Participants, participant: Participant
) -> None:
    await participants[order.close]([dataclasses.replace(command(order.close), failure=None)])
    close = participant.requests[0].requests[0]
    assert close.reason == "CANCELLATION_REQUESTED"
    assert validation_failure(altered_order(close)) is None


def altered_order(request: Any) -> Any:
    """With an order id that the contract takes."""
    request.order_id = str(uuid.uuid4())
    return request


@pytest.mark.parametrize(
    "code",
    [
        code_pb2.FAILED_PRECONDITION,
        code_pb2.NOT_FOUND,
        code_pb2.INVALID_ARGUMENT,
        code_pb2.ALREADY_EXISTS,
        code_pb2.OUT_OF_RANGE,
    ],
)
async def test_item_that_is_refused_keeps_its_reason(
    participants: Participants, participant: Participant, code: int
) -> None:
    participant.items = {"order-1": status(code, "only 1 left", "INSUFFICIENT_STOCK")}
    outcomes = await participants[inventory.reserve](
        [command(inventory.reserve, number) for number in range(3)]
    )
    assert outcomes == [Done(), Refused("INSUFFICIENT_STOCK", "only 1 left"), Done()]


@pytest.mark.parametrize(
    "code",
    [
        code_pb2.UNAVAILABLE,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.RESOURCE_EXHAUSTED,
        code_pb2.ABORTED,
        code_pb2.INTERNAL,
        code_pb2.UNKNOWN,
        code_pb2.PERMISSION_DENIED,
        code_pb2.UNAUTHENTICATED,
    ],
)
async def test_item_whose_outcome_is_unknown(
    participants: Participants, participant: Participant, code: int
) -> None:
    participant.items = {"order-0": status(code, "try again")}
    outcomes = await participants[order.confirm]([command(order.confirm)])
    away = code in NOBODY_THERE
    assert outcomes == [Unknown(f"{code_pb2.Code.Name(code)}: try again", away, reached=away)]


async def test_refusal_without_a_reason_still_has_one(
    participants: Participants, participant: Participant
) -> None:
    participant.items = {"order-0": status(code_pb2.NOT_FOUND, "no such order")}
    outcomes = await participants[order.confirm]([command(order.confirm)])
    assert outcomes == [Refused("INTERNAL", "no such order")]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a\x00b\x1b\r\n", "a\\x00b\\x1b\\r\\n"),
        ("c" * 2000, "c" * 1000),
        ("e\u0301" * 2000, "é" * 1000),
        ("\u0958" * 1000, "\u0915\u093c" * 500),
        ("x\n" * 999, ("x\\n" * 999)[:1000]),
    ],
    ids=["control characters", "long", "decomposed", "longer when normalised", "long when escaped"],
)
async def test_whatever_a_participant_says_the_order_can_be_closed_with_it(
    participants: Participants, participant: Participant, said: str, kept: str
) -> None:
    participant.items = {"order-0": status(code_pb2.NOT_FOUND, said)}
    outcomes = await participants[order.confirm]([command(order.confirm)])
    assert outcomes == [Refused("INTERNAL", kept)]

    closing = CloseOrderRequest(
        request_id=str(uuid.uuid4()), order_id=str(uuid.uuid4()), reason="INTERNAL", message=kept
    )
    assert validation_failure(closing) is None
    assert closing.message == kept


@pytest.mark.parametrize(
    "failure",
    [
        status(code_pb2.DEADLINE_EXCEEDED),
        status(code_pb2.ABORTED),
        status(code_pb2.RESOURCE_EXHAUSTED, reason="OVERLOADED"),
    ],
    ids=lambda one: code_pb2.Code.Name(one.code),
)
async def test_call_that_fails_leaves_every_outcome_unknown(
    participants: Participants, participant: Participant, failure: status_pb2.Status
) -> None:
    participant.whole = lambda _: failure
    outcomes = await participants[order.confirm](
        [command(order.confirm, number) for number in range(3)]
    )
    away = failure.code in NOBODY_THERE
    assert outcomes == [Unknown(f"{code_pb2.Code.Name(failure.code)}: no", away)] * 3
    assert len(participant.requests) == 1


@pytest.mark.parametrize(
    ("failure", "of_the_bad_one"),
    [
        (status(code_pb2.INVALID_ARGUMENT, "bad", "INVALID_REQUEST"), Refused),
        (status(code_pb2.INTERNAL, "bad"), Unknown),
        (status(code_pb2.RESOURCE_EXHAUSTED, "message too large"), Unknown),
    ],
    ids=["invalid", "internal", "too large"],
)
async def test_bad_item_that_fails_the_whole_call_fails_alone(
    participants: Participants,
    participant: Participant,
    failure: status_pb2.Status,
    of_the_bad_one: type,
) -> None:
    participant.whole = lambda requests: (
        failure if any(one.order_id == "order-5" for one in requests) else None
    )
    outcomes = await participants[order.confirm](
        [command(order.confirm, number) for number in range(8)]
    )
    assert [type(outcome) for outcome in outcomes] == [
        of_the_bad_one if number == 5 else Done for number in range(8)
    ]


async def test_answer_of_the_wrong_length_says_nothing(
    participants: Participants, participant: Participant
) -> None:
    participant.drop_results = 1
    outcomes = await participants[order.confirm](
        [command(order.confirm, number) for number in range(2)]
    )
    assert outcomes == [Unknown("1 results for 2 requests")] * 2


async def test_participant_that_is_not_there() -> None:
    async with open_channel("127.0.0.1:1") as channel:
        participants = grpc_participants(
            inventory_channel=channel, payment_channel=channel, order_channel=channel
        )
        (outcome,) = await participants[order.confirm]([command(order.confirm, deadline=0.5)])
    assert isinstance(outcome, Unknown)
