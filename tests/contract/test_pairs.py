"""What every action and its compensation promise together: nothing stays that was compensated.

A saga compensates each action that it ever sent, so the compensation may come
first, or with it, or after a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from . import inventory_moves, order_moves, payment_moves
from .conftest import ParticipantOf
from .moves import Command, Pair
from .participant import Participant
from .test_moves import NEVER, ONCE, done

PAIRS = (
    inventory_moves.RESERVE_RELEASE,
    order_moves.CONFIRM_CLOSE,
    payment_moves.AUTHORIZE_VOID,
)

BATCH = pytest.mark.parametrize("batch", [False, True], ids=["alone", "in a batch"])


@pytest.fixture(params=PAIRS, ids=lambda pair: pair.name)
def pair(request: pytest.FixtureRequest) -> Pair:
    made: Pair = request.param
    return made


@pytest.fixture
def participant(pair: Pair, participant_of: ParticipantOf) -> Participant:
    return participant_of(pair.action.module)


def for_orders(pair: Pair, orders: Sequence[str]) -> Sequence[tuple[Command, Command]]:
    return [(Command(pair.action, id_), Command(pair.compensation, id_)) for id_ in orders]


def stands(pair: Pair, participant: Participant, orders: Sequence[str]) -> set[int]:
    """How often the action stands now, by what the participant shows of each order."""
    return {pair.action.count(participant, order_id) for order_id in orders}


@BATCH
def test_an_action_after_its_compensation_is_refused(
    pair: Pair, participant: Participant, batch: bool
) -> None:
    orders = pair.action.ready(participant, 1)
    ((action, compensation),) = for_orders(pair, orders)

    assert done(compensation.ask(participant, batch=batch)())
    (late,) = action.ask(participant, batch=batch)()

    assert late.refusal == pair.refusal
    assert pair.action.effects(participant, orders) == NEVER


@pytest.mark.parametrize("order", ["acac", "aacc", "acca", "ccaa", "caca", "caac"])
def test_repeats_of_both_in_any_order_bring_nothing_back(
    pair: Pair, participant: Participant, order: str
) -> None:
    """`a` is the action, `c` its compensation; the first of them decides what is so for ever."""
    orders = pair.action.ready(participant, 1)
    ((action, compensation),) = for_orders(pair, orders)
    answers: dict[str, list[object]] = {"a": [], "c": []}

    for number, letter in enumerate(order):
        command = {"a": action, "c": compensation}[letter]
        (answer,) = command.ask(participant, replica=number % 2)()
        answers[letter].append(answer)

    for letter in "ac":
        assert answers[letter][0] == answers[letter][1]
    if order.startswith("c"):
        assert pair.action.effects(participant, orders) == NEVER
    elif pair.undoes:
        assert stands(pair, participant, orders) == {0}
        assert pair.compensation.effects(participant, orders) == ONCE
        assert participant.facts(pair.action.fact, orders) == [1]
    else:
        assert pair.action.effects(participant, orders) == ONCE
        assert pair.compensation.effects(participant, orders) == NEVER


def test_other_request_ids_bring_nothing_back_either(pair: Pair, participant: Participant) -> None:
    orders = pair.action.ready(participant, 1)
    for _ in range(2):
        ((action, compensation),) = for_orders(pair, orders)
        compensation.ask(participant)()
        assert action.ask(participant)()[0].refusal == pair.refusal
    assert pair.action.effects(participant, orders) == NEVER


@BATCH
def test_after_a_refused_action_its_compensation_leaves_nothing(
    pair: Pair, participant: Participant, batch: bool
) -> None:
    order_id, reason = pair.hopeless(participant)
    ((action, compensation),) = for_orders(pair, [order_id])

    assert [answer.refusal for answer in action.ask(participant, batch=batch)()] == [reason]
    assert done(compensation.ask(participant, batch=batch)())
    (late,) = action.ask(participant, batch=batch)()

    assert late.refusal
    assert pair.action.effects(participant, [order_id]) == NEVER
    assert participant.facts(pair.compensation.fact, [order_id]) == [0]


def test_both_at_once_leave_nothing_between(pair: Pair, participant: Participant) -> None:
    """Each order's two commands meet, on one replica or two, and either may be first."""
    orders = pair.action.ready(participant, 60)
    asked = []
    for number, both in enumerate(for_orders(pair, orders)):
        first = number % 2
        sent = [
            both[which].ask(participant, batch=number % 3 == 0, replica=number // 4 % 2 ^ place)
            for place, which in enumerate((first, 1 - first))
        ]
        asked.append((sent[first], sent[1 - first]))
    answers = [(action()[0], compensation()[0]) for action, compensation in asked]

    assert {action.refusal for action, _ in answers} <= {"", pair.refusal}
    if pair.undoes:
        assert not any(compensation.refusal for _, compensation in answers)
        assert stands(pair, participant, orders) == {0}
        return
    won = [id_ for id_, (action, _) in zip(orders, answers, strict=True) if not action.refusal]
    lost = [id_ for id_ in orders if id_ not in won]
    for (action, compensation), _ in zip(answers, orders, strict=True):
        assert bool(action.refusal) != bool(compensation.refusal)
    assert pair.action.effects(participant, won) <= ONCE
    assert pair.compensation.effects(participant, won) <= NEVER
    assert pair.action.effects(participant, lost) <= NEVER
    assert pair.compensation.effects(participant, lost) <= ONCE


def test_a_crash_between_them_leaves_nothing(pair: Pair, participant: Participant) -> None:
    """The action's process dies before it answers; the saga compensates, and the action comes late.

    Of the first half the transaction commits all the same; the rest was never begun.
    """
    orders = pair.action.ready(participant, 40)
    actions, compensations = zip(*for_orders(pair, orders), strict=True)
    with participant.outbox_held():
        batch = participant.ask(pair.action.rpc, [one.request for one in actions[:20]], batch=True)
        participant.wait_at_outbox()
        alone = participant.ask(pair.action.rpc, [one.request for one in actions[20:]])
        participant.replicas[0].kill()
    assert {answer.refusal for answer in [*batch(), *alone()]} == {"UNAVAILABLE"}
    participant.replace_first()

    undone = participant.ask(
        pair.compensation.rpc, [one.request for one in compensations], batch=True
    )()
    late = participant.ask(pair.action.rpc, [one.request for one in actions])()

    assert {answer.refusal for answer in late[20:]} == {pair.refusal}
    assert pair.action.effects(participant, orders[20:]) == NEVER
    if pair.undoes:
        assert done(undone)
        assert stands(pair, participant, orders) == {0}
    else:
        assert not done(undone[:20])
        assert pair.action.effects(participant, orders[:20]) == ONCE
