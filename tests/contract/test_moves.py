"""What every command of a saga promises: it takes effect once, however it is sent.

The participants are real services on a real Postgres, two replicas of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from trackops_cli.testing import wait_for

from . import inventory_moves, order_moves, payment_moves
from .conftest import ParticipantOf
from .moves import Command, Move
from .participant import Answer, Participant

MOVES = (*inventory_moves.MOVES, *order_moves.MOVES, *payment_moves.MOVES)

ONCE, NEVER = {(1, 1)}, {(0, 0)}


@pytest.fixture(params=MOVES, ids=lambda move: move.name)
def move(request: pytest.FixtureRequest) -> Move:
    made: Move = request.param
    return made


@pytest.fixture
def participant(move: Move, participant_of: ParticipantOf) -> Participant:
    return participant_of(move.module)


def commands(move: Move, participant: Participant, number: int) -> Sequence[Command]:
    return [Command(move, order_id) for order_id in move.ready(participant, number)]


def orders(of: Sequence[Command]) -> Sequence[str]:
    return [command.order_id for command in of]


def done(answers: Sequence[Answer]) -> bool:
    return bool(answers) and not any(answer.refusal for answer in answers)


@pytest.mark.parametrize("batch", [False, True], ids=["alone", "in a batch"])
def test_a_repeat_gets_the_same_response_and_changes_nothing(
    move: Move, participant: Participant, batch: bool
) -> None:
    (command,) = commands(move, participant, 1)
    assert move.effects(participant, [command.order_id]) == NEVER

    first = command.ask(participant, batch=batch)()

    assert done(first)
    assert move.effects(participant, [command.order_id]) == ONCE
    for replica in (0, 1):
        for way in (batch, not batch):
            assert command.ask(participant, batch=way, replica=replica)() == first
    assert move.effects(participant, [command.order_id]) == ONCE


@pytest.mark.parametrize("batch", [False, True], ids=["alone", "in a batch"])
def test_a_request_id_with_another_body_is_refused_and_changes_nothing(
    move: Move, participant: Participant, batch: bool
) -> None:
    first, second = commands(move, participant, 2)
    assert done(first.ask(participant)())
    stolen = Command(move, second.order_id, first.request_id)

    assert stolen.ask(participant, batch=batch)() == [Answer(refusal="REQUEST_ID_REUSED")]

    assert move.effects(participant, [second.order_id]) == NEVER
    assert done(second.ask(participant, batch=batch)())
    assert move.effects(participant, [first.order_id, second.order_id]) == ONCE


def test_a_bad_command_of_a_batch_harms_no_other(move: Move, participant: Participant) -> None:
    before, first, second, victim = commands(move, participant, 4)
    assert done(before.ask(participant)())
    bad = Command(move, victim.order_id, before.request_id)
    requests = [one.request for one in (first, bad, second, first)]

    answers = participant.ask(move.rpc, requests, batch=True)()

    assert [answer.refusal for answer in answers] == ["", "REQUEST_ID_REUSED", "", ""]
    assert answers[0] == answers[3]
    assert move.effects(participant, orders([first, second])) == ONCE
    assert move.effects(participant, [victim.order_id]) == NEVER


def test_duplicates_at_once_get_one_response_and_have_one_effect(
    move: Move, participant: Participant
) -> None:
    """Twenty of each, on both replicas, alone and in batches."""
    for command in commands(move, participant, 5):
        asked = [
            command.ask(participant, batch=number % 4 > 1, replica=number % 2)
            for number in range(20)
        ]
        answers = [answer for wait in asked for answer in wait()]

        assert done(answers)
        assert all(answer == answers[0] for answer in answers)
        assert move.effects(participant, [command.order_id]) == ONCE


def test_a_killed_process_loses_and_doubles_nothing(move: Move, participant: Participant) -> None:
    """Some commands were answered when it dies, some were about to commit, some not begun.

    Postgres commits the second kind without it: done, and nobody was told.
    """
    all_commands = commands(move, participant, 90)
    answered, committing, waiting = all_commands[:30], all_commands[30:60], all_commands[60:]
    first = participant.ask(move.rpc, [one.request for one in answered])()
    assert done(first)

    with participant.outbox_held():
        batch = participant.ask(move.rpc, [one.request for one in committing], batch=True)
        participant.wait_at_outbox()
        alone = participant.ask(move.rpc, [one.request for one in waiting])
        participant.replicas[0].kill()
    assert {answer.refusal for answer in [*batch(), *alone()]} == {"UNAVAILABLE"}
    participant.replace_first()
    wait_for(
        lambda: all(participant.facts(move.fact, orders(committing))),
        what="the commit that the process did not live to see",
    )
    again = participant.ask(move.rpc, [one.request for one in all_commands])()

    assert done(again)
    assert again[:30] == first
    assert move.effects(participant, orders(all_commands)) == ONCE
