"""What happens at the same time, on Postgres: held once, and never held after a void."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID, uuid4

import pytest

from trackops_cli import testing
from trackops_cli.testing import wait_for
from trackops_common.database import Database
from trackops_common.racing import at_once, waits_for_a_lock
from trackops_payment.adapters.simulator_books import Operation
from trackops_payment.application.move_payments import MovePayment
from trackops_payment.application.void_payments import VoidPayment
from trackops_payment.domain.errors import AmountTooHigh
from trackops_payment.domain.movement import MovementKind
from trackops_payment.domain.payment import PaymentState

from .payment_fakes import Payments, PostgresTables

THREADS = 8


@pytest.fixture
def connections(database: testing.Database) -> Iterator[Database]:
    connections = Database(
        database.url("trackops_payment"), application_name="test", pool_size=THREADS + 2
    )
    yield connections
    connections.close()


@pytest.fixture
def payments(connections: Database) -> Payments:
    return Payments(PostgresTables(connections))


def test_one_request_sent_many_times_at_once_holds_once(payments: Payments) -> None:
    commands = [payments.authorization(uuid4()) for _ in range(20)]
    shuffles = [random.Random(seed).sample(commands, 20) for seed in range(THREADS)]
    answers = at_once(*[partial(payments.authorize_all, batch) for batch in shuffles])
    responses = {
        (command.order_id, outcome)
        for batch, outcomes in zip(shuffles, answers, strict=True)
        for command, outcome in zip(batch, outcomes, strict=True)
    }
    assert len(responses) == 20
    assert payments.provider.holds == 20
    assert len(payments.tables.events()) == 20


def test_payments_are_locked_in_the_order_of_their_ids(
    connections: Database, payments: Payments
) -> None:
    """Stored 3, 2, 1; while 2 is taken, a batch that wants all three has 1 and not yet 3."""
    first, second, third = orders = [UUID(int=number) for number in (1, 2, 3)]
    for order_id in reversed(orders):
        payments.authorize(order_id)
    with ThreadPoolExecutor(1) as threads:
        with payments.tables.unit_of_work() as other:
            other.payments.lock([second])
            commands = [VoidPayment("me", str(uuid4()), id_) for id_ in (third, second, first)]
            batch = threads.submit(payments.void_all, commands)
            wait_for(lambda: waits_for_a_lock(connections), what="the batch waits for the second")
            free = connections.fetch("SELECT order_id FROM payments FOR UPDATE SKIP LOCKED")
            assert [row[0] for row in free] == [third]
        assert all(isinstance(outcome, bytes) for outcome in batch.result(timeout=10))


def test_one_void_sent_many_times_at_once_is_told_once(payments: Payments) -> None:
    orders = [uuid4() for _ in range(20)]
    payments.authorize_all([payments.authorization(id_) for id_ in orders])
    commands = [VoidPayment("me", str(uuid4()), id_) for id_ in orders]
    shuffles = [random.Random(seed).sample(commands, 20) for seed in range(THREADS)]
    at_once(*[partial(payments.void_all, batch) for batch in shuffles])
    assert payments.provider.held == set()
    assert len(payments.tables.events()) == 40


def test_whoever_wins_an_order_nothing_stays_held(payments: Payments) -> None:
    for _ in range(10):
        orders = [uuid4() for _ in range(20)]
        authorizations = [payments.authorization(id_) for id_ in orders]
        voids = [VoidPayment("me", str(uuid4()), id_) for id_ in reversed(orders)]
        _, voided = at_once(
            partial(payments.authorize_all, authorizations), partial(payments.void_all, voids)
        )
        assert all(isinstance(outcome, bytes) for outcome in voided)
        states = {payments.state(order_id) for order_id in orders}
        assert states == {PaymentState.VOIDED}
    assert payments.provider.held == set()


@pytest.mark.parametrize("kind", MovementKind)
def test_movements_at_the_same_time_never_move_more_than_there_is(
    payments: Payments, kind: MovementKind
) -> None:
    """Each order has 500, and eight threads want 200 of each."""
    orders = [uuid4() for _ in range(10)]
    payments.authorize_all([payments.authorization(id_, amount=500) for id_ in orders])
    if kind is MovementKind.REFUND:
        payments.move_all([move(MovementKind.CAPTURE, id_, 500) for id_ in orders])
    batches = [
        [move(kind, id_, 200) for id_ in random.Random(seed).sample(orders, len(orders))]
        for seed in range(THREADS)
    ]
    answers = at_once(*[partial(payments.move_all, batch) for batch in batches])
    done = [one for outcomes in answers for one in outcomes if isinstance(one, bytes)]
    refused = [one for outcomes in answers for one in outcomes if isinstance(one, AmountTooHigh)]
    assert (len(done), len(refused)) == (20, 60)
    operation: Operation = "capture" if kind is MovementKind.CAPTURE else "refund"
    for order_id in orders:
        payment, _ = payments.stored(order_id)
        assert payment.authorization_id is not None
        assert payments.provider.books.moved(operation, payment.authorization_id) == 400


def test_one_movement_sent_many_times_at_once_is_done_once(payments: Payments) -> None:
    orders = [uuid4() for _ in range(20)]
    payments.authorize_all([payments.authorization(id_) for id_ in orders])
    commands = [move(MovementKind.CAPTURE, id_, 300) for id_ in orders]
    shuffles = [random.Random(seed).sample(commands, 20) for seed in range(THREADS)]
    answers = at_once(*[partial(payments.move_all, batch) for batch in shuffles])
    responses = {one for outcomes in answers for one in outcomes if isinstance(one, bytes)}
    assert len(responses) == 20
    assert payments.provider.books.moved("capture") == 20 * 300
    assert len(payments.tables.events()) == 40


def test_voids_against_captures_leave_nothing_held_and_nothing_moved_unrecorded(
    payments: Payments,
) -> None:
    for _ in range(5):
        orders = [uuid4() for _ in range(20)]
        payments.authorize_all([payments.authorization(id_) for id_ in orders])
        captures = [move(MovementKind.CAPTURE, id_, 300) for id_ in orders]
        voids = [VoidPayment("me", str(uuid4()), id_) for id_ in reversed(orders)]
        at_once(partial(payments.move_all, captures), partial(payments.void_all, voids))
        outcomes = payments.void_all(voids)
        assert all(isinstance(outcome, bytes) for outcome in outcomes)
        for order_id in orders:
            payment, _ = payments.stored(order_id)
            assert payment.state in (PaymentState.VOIDED, PaymentState.CAPTURED)
            assert payment.authorization_id is not None
            taken = payments.provider.books.moved("capture", payment.authorization_id)
            assert taken == payment.sums.captured_minor
    assert payments.provider.held == set()


def move(kind: MovementKind, order_id: UUID, amount: int) -> MovePayment:
    return MovePayment(kind, "me", str(uuid4()), order_id, amount)
