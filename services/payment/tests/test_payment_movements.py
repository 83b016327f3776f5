"""What captures and refunds promise, on the tables in memory and on Postgres alike."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from trackops.payment.v1 import payment_pb2, payment_service_pb2

from trackops_common.errors import DependencyUnavailable, RequestIdReused
from trackops_payment.application.asking import PaymentOutcome
from trackops_payment.application.move_payments import MovePayment
from trackops_payment.domain.errors import (
    AmountTooHigh,
    AuthorizationDeclined,
    AuthorizationVoided,
    CaptureUnanswered,
    ForbiddenTransition,
    MovementDeclined,
    MovementOnOtherTerms,
    PaymentNotFound,
)
from trackops_payment.domain.movement import MovementKind, MovementState
from trackops_payment.domain.payment import PaymentState

from .payment_fakes import Crash, Payments
from .payment_outcomes import authorized, captured, response, sums

CAPTURED, REFUNDED = "PaymentCaptured", "PaymentRefunded"


def movement_states(payments: Payments, order_id: UUID) -> list[MovementState]:
    return [movement.state for movement in payments.stored(order_id)[1]]


def crash() -> None:
    raise Crash


class TestCapture:
    def test_takes_some_and_then_the_rest(self, payments: Payments) -> None:
        order_id, request_id = authorized(payments), str(uuid4())
        first = response(payments.capture(order_id, 200, request_id=request_id))
        assert first.payment.state == payment_pb2.PAYMENT_STATE_PARTIALLY_CAPTURED
        assert (first.payment.captured_minor, first.payment.refunded_minor) == (200, 0)
        assert first.movement.movement_id == request_id
        assert first.movement.kind == payment_pb2.PAYMENT_MOVEMENT_KIND_CAPTURE
        assert first.movement.state == payment_pb2.PAYMENT_MOVEMENT_STATE_DONE
        assert first.movement.amount_minor == 200
        assert first.movement.provider_id.startswith("capture_")
        second = response(payments.capture(order_id, 300))
        assert second.payment.state == payment_pb2.PAYMENT_STATE_CAPTURED
        assert payments.provider.books.moved("capture", first.payment.authorization_id) == 500
        assert [name for name, _, _ in payments.tables.events()[1:]] == [CAPTURED, CAPTURED]

    def test_no_more_than_is_held(self, payments: Payments) -> None:
        order_id = captured(payments, 400)
        refusal = payments.capture(order_id, 101)
        assert isinstance(refusal, AmountTooHigh)
        assert (refusal.requested_minor, refusal.available_minor) == (101, 100)
        assert len(payments.stored(order_id)[1]) == 1
        assert payments.provider.books.moved("capture") == 400

    def test_what_is_sent_counts_as_taken(self, payments: Payments) -> None:
        order_id = authorized(payments)
        payments.provider.away = True
        assert isinstance(payments.capture(order_id, 300), DependencyUnavailable)
        refusal = payments.capture(order_id, 201)
        assert isinstance(refusal, AmountTooHigh)
        assert sums(payments, order_id) == (300, 0, 0, 0)

    def test_of_a_payment_that_cannot_be_captured_is_refused(self, payments: Payments) -> None:
        assert isinstance(payments.capture(uuid4(), 1), PaymentNotFound)
        voided, marked, declined, asked = authorized(payments), uuid4(), uuid4(), uuid4()
        payments.void(voided)
        payments.void(marked)
        payments.authorize(declined, token="tok_declined")
        payments.authorize(asked, token="tok_unavailable")
        assert isinstance(payments.capture(voided, 1), AuthorizationVoided)
        assert isinstance(payments.capture(marked, 1), AuthorizationVoided)
        assert isinstance(payments.capture(declined, 1), AuthorizationDeclined)
        assert isinstance(payments.capture(asked, 1), ForbiddenTransition)
        assert payments.tables.count()["payment_movements"] == 0

    def test_the_movements_of_one_batch_share_what_is_held(self, payments: Payments) -> None:
        first, second = authorized(payments), authorized(payments)
        wanted = [(first, 300), (second, 500), (first, 200), (first, 1), (uuid4(), 1)]
        commands = [
            MovePayment(MovementKind.CAPTURE, "me", str(uuid4()), id_, amount)
            for id_, amount in wanted
        ]
        outcomes = payments.move_all([*commands, commands[0]])
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds == [bytes, bytes, bytes, AmountTooHigh, PaymentNotFound, bytes]
        assert outcomes[0] == outcomes[5]
        assert payments.provider.books.moved("capture") == 1000
        versions = [(id_, version) for name, id_, version in payments.tables.events()[2:]]
        assert sorted(versions) == sorted([(str(first), 5), (str(first), 6), (str(second), 4)])

    def test_amount_0_is_recorded_and_asks_nobody(self, payments: Payments) -> None:
        free, dear = authorized(payments, amount=0), authorized(payments)
        calls = payments.provider.calls
        for _ in range(2):
            shown = response(payments.capture(free, 0))
            assert shown.payment.state == payment_pb2.PAYMENT_STATE_CAPTURED
            assert shown.movement.state == payment_pb2.PAYMENT_MOVEMENT_STATE_DONE
        assert isinstance(payments.capture(free, 1), AmountTooHigh)
        assert response(payments.capture(dear, 0)).payment.state == (
            payment_pb2.PAYMENT_STATE_AUTHORIZED
        )
        assert isinstance(payments.refund(free, 0), bytes)
        assert payments.provider.calls == calls


class TestRefund:
    def test_gives_back_some_and_then_the_rest(self, payments: Payments) -> None:
        order_id = captured(payments, 300)
        first = response(payments.refund(order_id, 100))
        assert first.movement.kind == payment_pb2.PAYMENT_MOVEMENT_KIND_REFUND
        assert (first.payment.captured_minor, first.payment.refunded_minor) == (300, 100)
        assert first.payment.state == payment_pb2.PAYMENT_STATE_PARTIALLY_CAPTURED
        second = response(payments.refund(order_id, 200))
        assert second.payment.refunded_minor == 300
        assert payments.provider.books.moved("refund") == 300
        assert [name for name, _, _ in payments.tables.events()[2:]] == [REFUNDED, REFUNDED]

    def test_no_more_than_was_captured(self, payments: Payments) -> None:
        order_id = captured(payments, 300)
        payments.refund(order_id, 100)
        refusal = payments.refund(order_id, 201)
        assert isinstance(refusal, AmountTooHigh)
        assert (refusal.requested_minor, refusal.available_minor) == (201, 200)
        assert isinstance(payments.refund(authorized(payments), 1), AmountTooHigh)
        assert payments.provider.books.moved("refund") == 100

    def test_what_is_being_captured_is_not_there_yet(self, payments: Payments) -> None:
        order_id = authorized(payments)
        payments.provider.answers_get_lost = True
        payments.capture(order_id, 300)
        payments.provider.answers_get_lost = False
        assert isinstance(payments.refund(order_id, 1), AmountTooHigh)

    def test_what_is_sent_counts_as_given(self, payments: Payments) -> None:
        order_id = captured(payments, 300)
        payments.provider.away = True
        payments.refund(order_id, 200)
        assert isinstance(payments.refund(order_id, 101), AmountTooHigh)
        assert sums(payments, order_id) == (0, 300, 200, 0)

    def test_of_a_payment_that_never_held_anything_is_refused(self, payments: Payments) -> None:
        assert isinstance(payments.refund(uuid4(), 1), PaymentNotFound)
        marked, declined, asked = uuid4(), uuid4(), uuid4()
        payments.void(marked)
        payments.authorize(declined, token="tok_declined")
        payments.authorize(asked, token="tok_unavailable")
        assert isinstance(payments.refund(marked, 0), AuthorizationVoided)
        assert isinstance(payments.refund(declined, 0), AuthorizationDeclined)
        assert isinstance(payments.refund(asked, 0), ForbiddenTransition)

    def test_works_after_the_rest_was_voided(self, payments: Payments) -> None:
        order_id = captured(payments, 300)
        payments.void(order_id)
        shown = response(payments.refund(order_id, 300)).payment
        assert shown.state == payment_pb2.PAYMENT_STATE_CAPTURED
        assert shown.refunded_minor == 300


Move = partial[PaymentOutcome]


@pytest.mark.parametrize("kind", ["capture", "refund"])
class TestEitherMovement:
    """Each moves 200 of an order of 500 that has 300 captured."""

    def prepare(self, payments: Payments, kind: str, token: str = "visa") -> tuple[UUID, Move]:
        tokens = {"visa": "tok_visa", "declined": f"tok_{kind}_declined"}
        order_id = authorized(payments, token=tokens[token])
        if kind == "refund":
            payments.capture(order_id, 300)
        request_id = str(uuid4())
        return order_id, partial(getattr(payments, kind), order_id, request_id=request_id)

    def moved(self, payments: Payments, kind: Any) -> int:
        return payments.provider.books.moved(kind)

    def test_a_repeat_gets_the_first_response_and_asks_nobody(
        self, payments: Payments, kind: str
    ) -> None:
        order_id, move = self.prepare(payments, kind)
        first = move(200)
        calls = payments.provider.calls
        payments.clock.advance(minutes=1)
        (payments.refund if kind == "refund" else payments.capture)(order_id, 50)
        assert move(200) == first
        assert payments.provider.calls == calls + 1
        assert self.moved(payments, kind) == 250

    def test_another_body_is_refused(self, payments: Payments, kind: str) -> None:
        _, move = self.prepare(payments, kind)
        move(200)
        assert isinstance(move(201), RequestIdReused)
        assert self.moved(payments, kind) == 200

    def test_another_amount_is_refused_while_the_answer_is_awaited(
        self, payments: Payments, kind: str
    ) -> None:
        _, move = self.prepare(payments, kind)
        payments.provider.answers_get_lost = True
        move(200)
        payments.provider.answers_get_lost = False
        assert isinstance(move(100), MovementOnOtherTerms)
        assert isinstance(move(200), bytes)
        assert self.moved(payments, kind) == 200

    def test_a_decline_is_recorded_refused_alike_and_frees_the_amount(
        self, payments: Payments, kind: str
    ) -> None:
        order_id, move = self.prepare(payments, kind, "declined")
        before = sums(payments, order_id)
        calls = payments.provider.calls
        for _ in range(2):
            refusal = move(200)
            assert isinstance(refusal, MovementDeclined)
            assert refusal.decline_code == "card_declined"
        assert payments.provider.calls == calls + 1
        assert sums(payments, order_id) == before
        assert movement_states(payments, order_id)[-1] is MovementState.DECLINED
        events = [name for name, _, _ in payments.tables.events()]
        assert events.count(CAPTURED if kind == "capture" else REFUNDED) == 0

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_a_crash_around_the_provider_is_repaired_by_the_repeat(
        self, payments: Payments, kind: str, moment: str
    ) -> None:
        order_id, move = self.prepare(payments, kind)
        setattr(payments.provider, moment, crash)
        with pytest.raises(Crash):
            move(200)
        assert movement_states(payments, order_id).count(MovementState.SENT) == 1
        response(move(200))
        assert MovementState.SENT not in movement_states(payments, order_id)
        assert self.moved(payments, kind) == 200

    def test_a_lost_answer_is_asked_for_again(self, payments: Payments, kind: str) -> None:
        order_id, move = self.prepare(payments, kind)
        payments.provider.answers_get_lost = True
        assert isinstance(move(200), DependencyUnavailable)
        payments.provider.answers_get_lost = False
        response(move(200))
        assert self.moved(payments, kind) == 200
        assert MovementState.SENT not in movement_states(payments, order_id)

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_the_same_request_in_between_is_answered_alike(
        self, payments: Payments, kind: str, moment: str
    ) -> None:
        _, move = self.prepare(payments, kind)
        between: list[PaymentOutcome] = []
        setattr(payments.provider, moment, lambda: between.append(move(200)))
        assert [move(200)] == between
        assert self.moved(payments, kind) == 200
        events = [name for name, _, _ in payments.tables.events()]
        assert events.count(CAPTURED if kind == "capture" else REFUNDED) == 1

    def test_a_repeat_whose_response_was_forgotten_moves_nothing(
        self, payments: Payments, kind: str
    ) -> None:
        order_id, move = self.prepare(payments, kind)
        move(200)
        command = MovePayment(
            MovementKind(kind.upper()), "somebody else", move.keywords["request_id"], order_id, 200
        )
        assert isinstance(payments.move_all([command])[0], bytes)
        assert self.moved(payments, kind) == 200


class TestVoidAndCapture:
    def test_a_void_lets_go_of_the_rest(self, payments: Payments) -> None:
        order_id = captured(payments, 200)
        shown = response(payments.void(order_id)).payment
        assert shown.state == payment_pb2.PAYMENT_STATE_CAPTURED
        assert (shown.amount_minor, shown.captured_minor) == (500, 200)
        assert payments.provider.held == set()
        assert [name for name, _, _ in payments.tables.events()][1:] == [CAPTURED, "PaymentVoided"]
        assert isinstance(payments.capture(order_id, 1), AuthorizationVoided)
        assert isinstance(payments.authorize(order_id), AuthorizationVoided)

    def test_a_void_of_what_is_all_captured_changes_nothing(self, payments: Payments) -> None:
        order_id = captured(payments)
        calls = payments.provider.calls
        assert response(payments.void(order_id)).payment.state == (
            payment_pb2.PAYMENT_STATE_CAPTURED
        )
        assert payments.provider.calls == calls
        assert isinstance(payments.authorize(order_id), bytes)

    def test_a_void_waits_for_a_capture_that_is_sent(self, payments: Payments) -> None:
        order_id, request_id = authorized(payments), str(uuid4())
        payments.provider.answers_get_lost = True
        payments.capture(order_id, 200, request_id=request_id)
        payments.provider.answers_get_lost = False
        assert isinstance(payments.void(order_id), CaptureUnanswered)
        assert payments.state(order_id) is PaymentState.AUTHORIZED
        payments.capture(order_id, 200, request_id=request_id)
        assert response(payments.void(order_id)).payment.captured_minor == 200

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_no_capture_begins_while_a_void_is_on_its_way(
        self, payments: Payments, moment: str
    ) -> None:
        order_id = captured(payments, 200)
        between: list[PaymentOutcome] = []
        setattr(payments.provider, moment, lambda: between.append(payments.capture(order_id, 1)))
        response(payments.void(order_id))
        assert isinstance(between[0], AuthorizationVoided)
        assert payments.provider.books.moved("capture") == 200

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_a_refund_while_a_void_is_on_its_way(self, payments: Payments, moment: str) -> None:
        order_id = captured(payments, 200)
        setattr(payments.provider, moment, lambda: response(payments.refund(order_id, 150)))
        response(payments.void(order_id))
        assert payments.state(order_id) is PaymentState.CAPTURED
        assert sums(payments, order_id) == (0, 200, 0, 150)


def test_the_history_has_every_movement_oldest_first(payments: Payments) -> None:
    order_id = authorized(payments)
    for move, amount in ((payments.capture, 300), (payments.refund, 100), (payments.capture, 50)):
        payments.clock.advance(seconds=1)
        move(order_id, amount)
    found = payments.get_all([order_id])[0]
    assert isinstance(found, bytes)
    shown = payment_service_pb2.GetPaymentResponse.FromString(found).payment
    assert [(one.kind, one.amount_minor) for one in shown.movements] == [
        (1, 300),
        (2, 100),
        (1, 50),
    ]
    assert (shown.captured_minor, shown.refunded_minor) == (350, 100)
