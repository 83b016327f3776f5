"""What nobody repeats is settled all the same, on the tables in memory and on Postgres alike."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from trackops.payment.v1 import payment_pb2

from trackops_payment.domain.payment import PaymentState

from .payment_fakes import Payments
from .payment_outcomes import authorized, captured, response, sums

CAPTURED, REFUNDED = "PaymentCaptured", "PaymentRefunded"


class TestSweep:
    """What waited a minute for its answer is asked about again, under the same key."""

    @pytest.fixture
    def orders(self, payments: Payments) -> dict[str, UUID]:
        """One order for each operation, each without an answer that the provider gave."""
        orders = {
            "authorize": uuid4(),
            "capture": authorized(payments),
            "void": captured(payments, 200),
            "refund": captured(payments, 200),
        }
        payments.provider.answers_get_lost = True
        payments.authorize(orders["authorize"])
        payments.capture(orders["capture"], 200)
        payments.void(orders["void"])
        payments.refund(orders["refund"], 150)
        payments.provider.answers_get_lost = False
        return orders

    def test_each_gets_its_answer_once(self, payments: Payments, orders: dict[str, UUID]) -> None:
        before = len(payments.provider.books.entries)
        payments.clock.advance(seconds=61)
        assert payments.sweep() == 4
        assert {name: str(payments.state(id_)) for name, id_ in orders.items()} == {
            "authorize": "AUTHORIZED",
            "capture": "PARTIALLY_CAPTURED",
            "void": "CAPTURED",
            "refund": "PARTIALLY_CAPTURED",
        }
        assert sums(payments, orders["capture"]) == (0, 200, 0, 0)
        assert sums(payments, orders["refund"]) == (0, 200, 0, 150)
        assert len(payments.provider.books.entries) == before
        events = payments.tables.events()
        assert payments.sweep() == 0
        assert payments.tables.events() == events
        last = {key: name for name, key, _ in events}
        assert [last[str(id_)] for id_ in orders.values()] == [
            "PaymentAuthorized",
            CAPTURED,
            "PaymentVoided",
            REFUNDED,
        ]

    def test_what_is_young_is_left_to_those_who_asked(
        self, payments: Payments, orders: dict[str, UUID]
    ) -> None:
        payments.clock.advance(seconds=59)
        assert payments.sweep() == 0
        assert payments.state(orders["authorize"]) is PaymentState.AUTHORIZING

    @pytest.mark.usefixtures("orders")
    def test_what_stays_unanswered_is_found_again(self, payments: Payments) -> None:
        payments.provider.away = True
        for _ in range(3):
            payments.clock.advance(hours=1)
            assert payments.sweep() == 4
        payments.provider.away = False
        assert payments.sweep() == 4
        assert payments.sweep() == 0

    def test_a_repeat_after_it_gets_the_outcome(self, payments: Payments) -> None:
        order_id, request_id = authorized(payments), str(uuid4())
        payments.provider.answers_get_lost = True
        payments.capture(order_id, 200, request_id=request_id)
        payments.provider.answers_get_lost = False
        payments.clock.advance(seconds=61)
        payments.sweep()
        calls = payments.provider.calls
        shown = response(payments.capture(order_id, 200, request_id=request_id))
        assert shown.movement.state == payment_pb2.PAYMENT_MOVEMENT_STATE_DONE
        assert payments.provider.calls == calls

    def test_a_decline_is_an_answer_too(self, payments: Payments) -> None:
        order_id, request_id = uuid4(), str(uuid4())
        payments.provider.answers_get_lost = True
        payments.authorize(order_id, request_id=request_id, token="tok_declined")
        payments.provider.answers_get_lost = False
        payments.clock.advance(seconds=61)
        payments.sweep()
        assert payments.state(order_id) is PaymentState.DECLINED

    def test_no_more_than_its_limit_in_one_go(self, payments: Payments) -> None:
        payments.provider.away = True
        payments.authorize_all([payments.authorization(uuid4()) for _ in range(150)])
        payments.provider.away = False
        payments.clock.advance(seconds=61)
        assert [payments.sweep() for _ in range(3)] == [100, 50, 0]
