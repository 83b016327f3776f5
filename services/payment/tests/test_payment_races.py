"""What happens at the same time, on Postgres: held once, and never held after a void."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar
from uuid import uuid4

import pytest

from trackops_cli import testing
from trackops_common.database import Database
from trackops_payment.application.void_payments import VoidPayment
from trackops_payment.domain.payment import PaymentState

from .payment_fakes import Payments, PostgresTables

R = TypeVar("R")

THREADS = 8


@pytest.fixture
def payments(database: testing.Database) -> Iterator[Payments]:
    connections = Database(
        database.url("trackops_payment"), application_name="test", pool_size=THREADS
    )
    yield Payments(PostgresTables(connections))
    connections.close()


def at_once(*calls: Callable[[], R]) -> Sequence[R]:
    """The results of calls that start together, each in a thread."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], R]) -> R:
        barrier.wait(timeout=10)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


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
        states = {found.state for found in payments.tables.reader.get(orders).values()}
        assert states == {PaymentState.VOIDED}
    assert payments.provider.held == set()
