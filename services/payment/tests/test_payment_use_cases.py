"""What payments promise, on the tables in memory and on Postgres alike."""

from __future__ import annotations

from functools import partial
from uuid import UUID, uuid4

import pytest
from trackops.payment.v1 import payment_pb2, payment_service_pb2

from trackops_common.errors import DependencyUnavailable, RequestIdReused
from trackops_payment.application.asking import PaymentOutcome
from trackops_payment.application.void_payments import VoidPayment
from trackops_payment.domain.errors import (
    AuthorizationDeclined,
    AuthorizationVoided,
    ForbiddenTransition,
    PaymentNotFound,
)
from trackops_payment.domain.payment import PaymentState

from .payment_fakes import Crash, Payments

AUTHORIZED, DECLINED, VOIDED = "PaymentAuthorized", "PaymentDeclined", "PaymentVoided"


def payment(outcome: PaymentOutcome) -> payment_pb2.Payment:
    assert isinstance(outcome, bytes), outcome
    return payment_service_pb2.GetPaymentResponse.FromString(outcome).payment


def crash() -> None:
    raise Crash


class TestAuthorize:
    def test_holds_the_amount(self, payments: Payments) -> None:
        order_id = uuid4()
        shown = payment(payments.authorize(order_id, amount=700))
        assert shown.state == payment_pb2.PAYMENT_STATE_AUTHORIZED
        assert (shown.amount_minor, shown.currency_code) == (700, "EUR")
        assert payments.provider.held == {shown.authorization_id}
        assert payments.tables.events() == [(AUTHORIZED, str(order_id), 2)]

    def test_a_repeat_gets_the_first_response_and_asks_nobody(self, payments: Payments) -> None:
        order_id, request_id = uuid4(), str(uuid4())
        first = payments.authorize(order_id, request_id=request_id)
        payments.clock.advance(minutes=1)
        assert payments.authorize(order_id, request_id=request_id) == first
        assert payments.provider.calls == 1
        assert len(payments.tables.events()) == 1

    def test_a_declined_method_is_recorded_and_refused_alike_every_time(
        self, payments: Payments
    ) -> None:
        order_id, request_id = uuid4(), str(uuid4())
        for _ in range(2):
            refusal = payments.authorize(order_id, request_id=request_id, token="tok_declined_1")
            assert isinstance(refusal, AuthorizationDeclined)
            assert refusal.decline_code == "card_declined"
        assert payments.state(order_id) is PaymentState.DECLINED
        assert payments.provider.calls == 1
        assert payments.tables.events() == [(DECLINED, str(order_id), 2)]

    def test_another_body_is_refused_and_leaves_nothing(self, payments: Payments) -> None:
        order_id, request_id = uuid4(), str(uuid4())
        payments.authorize(order_id, request_id=request_id)
        before = payments.tables.count()
        for other in (order_id, uuid4()):
            refusal = payments.authorize(other, request_id=request_id, amount=1)
            assert isinstance(refusal, RequestIdReused)
        assert payments.tables.count() == before
        assert payments.provider.calls == 1

    def test_one_request_id_for_two_orders_of_a_batch_holds_one(self, payments: Payments) -> None:
        request_id = str(uuid4())
        commands = [payments.authorization(uuid4(), request_id=request_id) for _ in range(2)]
        outcomes = payments.authorize_all(commands)
        assert [type(outcome) for outcome in outcomes] == [bytes, RequestIdReused]
        assert payments.provider.holds == 1
        assert payments.tables.count()["payments"] == 1

    def test_another_request_for_a_paid_order_holds_nothing_more(self, payments: Payments) -> None:
        order_id = uuid4()
        first = payments.authorize(order_id)
        assert payments.authorize(order_id) == first
        assert isinstance(payments.authorize(order_id, amount=1), ForbiddenTransition)
        assert payments.provider.holds == 1

    def test_equal_commands_of_a_batch_are_one(self, payments: Payments) -> None:
        command = payments.authorization(uuid4())
        first, second = payments.authorize_all([command, command])
        assert first == second
        assert payments.provider.holds == 1
        assert len(payments.tables.events()) == 1

    def test_each_of_a_batch_succeeds_or_fails_alone(self, payments: Payments) -> None:
        tokens = ["tok_a", "tok_declined", "tok_unavailable", "tok_insufficient_funds", "tok_b"]
        outcomes = payments.authorize_all(
            [payments.authorization(uuid4(), token=token) for token in tokens]
        )
        assert [type(outcome) for outcome in outcomes] == [
            bytes,
            AuthorizationDeclined,
            DependencyUnavailable,
            AuthorizationDeclined,
            bytes,
        ]
        assert payments.provider.calls == 1
        assert [name for name, _, _ in payments.tables.events()] == [
            AUTHORIZED,
            DECLINED,
            DECLINED,
            AUTHORIZED,
        ]

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_a_crash_around_the_provider_is_repaired_by_the_repeat(
        self, payments: Payments, moment: str
    ) -> None:
        order_id, request_id = uuid4(), str(uuid4())
        setattr(payments.provider, moment, crash)
        with pytest.raises(Crash):
            payments.authorize(order_id, request_id=request_id)
        assert payments.state(order_id) is PaymentState.AUTHORIZING
        payment(payments.authorize(order_id, request_id=request_id))
        assert payments.state(order_id) is PaymentState.AUTHORIZED
        assert payments.provider.holds == 1

    def test_a_provider_that_is_away_leaves_the_intent(self, payments: Payments) -> None:
        order_id, request_id = uuid4(), str(uuid4())
        payments.provider.away = True
        outcome = payments.authorize(order_id, request_id=request_id)
        assert isinstance(outcome, DependencyUnavailable)
        assert payments.state(order_id) is PaymentState.AUTHORIZING
        payments.provider.away = False
        assert payment(payments.authorize(order_id, request_id=request_id))

    def test_a_lost_answer_is_asked_for_again(self, payments: Payments) -> None:
        order_id, request_id = uuid4(), str(uuid4())
        payments.provider.answers_get_lost = True
        outcome = payments.authorize(order_id, request_id=request_id)
        assert isinstance(outcome, DependencyUnavailable)
        payments.provider.answers_get_lost = False
        assert payment(payments.authorize(order_id, request_id=request_id))
        assert payments.provider.holds == 1

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_the_same_request_in_between_is_answered_alike(
        self, payments: Payments, moment: str
    ) -> None:
        command = payments.authorization(uuid4())
        between: list[PaymentOutcome] = []
        twin = partial(payments.authorize_all, [command])
        setattr(payments.provider, moment, lambda: between.extend(twin()))
        assert payments.authorize_all([command]) == between
        assert payments.provider.holds == 1
        assert len(payments.tables.events()) == 1

    def test_an_unknown_outcome_is_not_asked_for_on_other_terms(self, payments: Payments) -> None:
        order_id = uuid4()
        payments.provider.answers_get_lost = True
        payments.authorize(order_id)
        payments.provider.answers_get_lost = False
        assert isinstance(payments.authorize(order_id, amount=1), ForbiddenTransition)
        assert payments.state(order_id) is PaymentState.AUTHORIZING


class TestVoid:
    def test_lets_go_of_what_is_held(self, payments: Payments) -> None:
        order_id = uuid4()
        payments.authorize(order_id)
        shown = payment(payments.void(order_id))
        assert shown.state == payment_pb2.PAYMENT_STATE_VOIDED
        assert payments.provider.held == set()
        assert payments.tables.events() == [
            (AUTHORIZED, str(order_id), 2),
            (VOIDED, str(order_id), 4),
        ]

    def test_twice_is_harmless(self, payments: Payments) -> None:
        order_id = uuid4()
        payments.authorize(order_id)
        first = payments.void(order_id)
        assert payments.void(order_id) == first
        assert len(payments.tables.events()) == 2

    def test_a_repeat_gets_the_first_response(self, payments: Payments) -> None:
        order_id, request_id = uuid4(), str(uuid4())
        payments.authorize(order_id)
        first = payments.void(order_id, request_id=request_id)
        calls = payments.provider.calls
        assert payments.void(order_id, request_id=request_id) == first
        assert payments.provider.calls == calls

    def test_before_the_authorization_refuses_it(self, payments: Payments) -> None:
        order_id = uuid4()
        mark = payment(payments.void(order_id))
        assert mark.state == payment_pb2.PAYMENT_STATE_VOIDED
        assert isinstance(payments.authorize(order_id), AuthorizationVoided)
        assert payments.provider.calls == 0
        assert payments.tables.events() == []

    def test_of_a_declined_payment_changes_nothing(self, payments: Payments) -> None:
        order_id = uuid4()
        payments.authorize(order_id, token="tok_declined")
        assert payment(payments.void(order_id)).state == payment_pb2.PAYMENT_STATE_DECLINED
        assert isinstance(payments.authorize(order_id), AuthorizationDeclined)
        assert [name for name, _, _ in payments.tables.events()] == [DECLINED]

    def test_another_body_leaves_no_mark(self, payments: Payments) -> None:
        request_id = str(uuid4())
        payments.void(uuid4(), request_id=request_id)
        before = payments.tables.count()
        assert isinstance(payments.void(uuid4(), request_id=request_id), RequestIdReused)
        assert payments.tables.count() == before

    def test_a_batch_takes_each_as_it_stands(self, payments: Payments) -> None:
        held, lost, declined, unknown = (uuid4() for _ in range(4))
        payments.authorize(held)
        payments.authorize(declined, token="tok_declined")
        payments.provider.answers_get_lost = True
        payments.authorize(lost)
        payments.provider.answers_get_lost = False
        orders = [held, lost, declined, unknown, held]
        outcomes = payments.void_all([VoidPayment("me", str(uuid4()), id_) for id_ in orders])
        states = [payment_pb2.PaymentState.Name(payment(o).state)[14:] for o in outcomes]
        assert states == ["VOIDED", "VOIDED", "DECLINED", "VOIDED", "VOIDED"]
        assert payments.provider.held == set()
        voided = {key for name, key, _ in payments.tables.events() if name == VOIDED}
        assert voided == {str(held), str(lost)}

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_a_crash_around_the_provider_is_repaired_by_the_repeat(
        self, payments: Payments, moment: str
    ) -> None:
        order_id, request_id = uuid4(), str(uuid4())
        payments.authorize(order_id)
        setattr(payments.provider, moment, crash)
        with pytest.raises(Crash):
            payments.void(order_id, request_id=request_id)
        assert payments.state(order_id) is PaymentState.VOIDING
        assert isinstance(payments.authorize(order_id), AuthorizationVoided)
        payment(payments.void(order_id, request_id=request_id))
        assert payments.state(order_id) is PaymentState.VOIDED
        assert payments.provider.held == set()
        assert len(payments.tables.events()) == 2

    def test_a_provider_that_is_away_leaves_the_intent(self, payments: Payments) -> None:
        order_id, request_id = uuid4(), str(uuid4())
        payments.authorize(order_id)
        payments.provider.away = True
        assert isinstance(payments.void(order_id, request_id=request_id), DependencyUnavailable)
        assert payments.state(order_id) is PaymentState.VOIDING
        payments.provider.away = False
        assert payment(payments.void(order_id, request_id=request_id))
        assert payments.provider.held == set()

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_the_same_request_in_between_is_answered_alike(
        self, payments: Payments, moment: str
    ) -> None:
        order_id, request_id = uuid4(), str(uuid4())
        payments.authorize(order_id)
        between: list[PaymentOutcome] = []
        twin = partial(payments.void, order_id, request_id=request_id)
        setattr(payments.provider, moment, lambda: between.append(twin()))
        assert [payments.void(order_id, request_id=request_id)] == between
        assert len(payments.tables.events()) == 2


class TestVoidAgainstAuthorize:
    """Whatever the order, the void wins: nothing is held at the end, and it is said."""

    @pytest.mark.parametrize("moment", ["before", "after"])
    @pytest.mark.parametrize("token", ["tok_visa", "tok_declined"])
    def test_a_void_while_the_provider_is_asked(
        self, payments: Payments, moment: str, token: str
    ) -> None:
        order_id = uuid4()
        setattr(payments.provider, moment, lambda: payments.void(order_id))
        assert isinstance(payments.authorize(order_id, token=token), AuthorizationVoided)
        self._ends_voided(payments, order_id)

    def test_a_void_that_overtakes_the_authorization_on_its_way_to_the_provider(
        self, payments: Payments
    ) -> None:
        """The provider hears of the order from the void first; the late request holds nothing."""
        order_id = uuid4()
        payments.provider.before = lambda: payments.void(order_id)
        payments.authorize(order_id)
        assert payments.provider.holds == 1
        self._ends_voided(payments, order_id)

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_an_authorization_while_the_void_asks_the_provider(
        self, payments: Payments, moment: str
    ) -> None:
        order_id, request_id = uuid4(), str(uuid4())
        payments.provider.answers_get_lost = True
        payments.authorize(order_id, request_id=request_id)
        payments.provider.answers_get_lost = False
        between: list[PaymentOutcome] = []
        again = partial(payments.authorize, order_id, request_id=request_id)
        setattr(payments.provider, moment, lambda: between.append(again()))
        payment(payments.void(order_id))
        assert isinstance(between[0], AuthorizationVoided)
        self._ends_voided(payments, order_id)

    def test_a_void_that_dies_halfway_still_refuses_the_authorization(
        self, payments: Payments
    ) -> None:
        order_id, void_id = uuid4(), str(uuid4())

        def void_that_dies() -> None:
            payments.provider.after = crash
            with pytest.raises(Crash):
                payments.void(order_id, request_id=void_id)

        payments.provider.after = void_that_dies
        assert isinstance(payments.authorize(order_id), AuthorizationVoided)
        assert payments.state(order_id) is PaymentState.VOIDING
        payment(payments.void(order_id, request_id=void_id))
        self._ends_voided(payments, order_id)

    def test_a_crash_of_the_authorization_leaves_a_void_to_clear_up(
        self, payments: Payments
    ) -> None:
        order_id = uuid4()
        payments.provider.after = crash
        with pytest.raises(Crash):
            payments.authorize(order_id)
        assert len(payments.provider.held) == 1
        payment(payments.void(order_id))
        self._ends_voided(payments, order_id)
        assert payments.tables.events() == [(VOIDED, str(order_id), 3)]

    @staticmethod
    def _ends_voided(payments: Payments, order_id: UUID) -> None:
        assert payments.provider.held == set()
        assert payments.state(order_id) is PaymentState.VOIDED
        assert isinstance(payments.authorize(order_id), AuthorizationVoided)
        assert payments.provider.held == set()


def test_payments_are_shown_to_those_who_ask(payments: Payments) -> None:
    order_id = uuid4()
    authorized = payments.authorize(order_id)
    found = payments.get_all([order_id, uuid4()])
    assert found[0] == authorized
    assert isinstance(found[1], PaymentNotFound)
