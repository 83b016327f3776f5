"""Random lives of payments: whatever is asked, lost, declined or cut short, the sums are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trackops_payment.application.asking import PaymentOutcome
from trackops_payment.application.authorize_payments import AuthorizePayment
from trackops_payment.application.move_payments import MovePayment
from trackops_payment.application.void_payments import VoidPayment
from trackops_payment.domain.movement import Movement, MovementKind, MovementState
from trackops_payment.domain.payment import Payment, PaymentState, PaymentTerms

from .payment_fakes import Crash, InMemoryTables, Payments

Command = AuthorizePayment | MovePayment | VoidPayment

ORDERS = [UUID(int=number) for number in range(1, 4)]
TOKENS = [
    "tok_visa",
    "tok_declined",
    "tok_lost",
    "tok_capture_declined",
    "tok_capture_lost",
    "tok_refund_declined",
    "tok_void_lost",
]
orders = st.sampled_from(ORDERS)
amounts = st.integers(0, 12)
fates = st.sampled_from(["well", "well", "away", "lost", "crash before", "crash after", "twice"])
FINAL = {
    PaymentState.AUTHORIZED,
    PaymentState.DECLINED,
    PaymentState.VOIDED,
    PaymentState.PARTIALLY_CAPTURED,
    PaymentState.CAPTURED,
}


class PaymentLives(RuleBasedStateMachine):
    """Three orders, whose payments anybody asks anything of at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.payments = Payments(InMemoryTables())
        self.asked: list[Command] = []
        self.responses: dict[UUID, bytes] = {}

    @rule(order_id=orders, amount=amounts, token=st.sampled_from(TOKENS), fate=fates)
    def authorize(self, order_id: UUID, amount: int, token: str, fate: str) -> None:
        terms = PaymentTerms(amount, "EUR", token)
        self.ask(AuthorizePayment("me", str(uuid4()), order_id, terms), fate)

    @rule(kind=st.sampled_from(MovementKind), order_id=orders, amount=amounts, fate=fates)
    def move(self, kind: MovementKind, order_id: UUID, amount: int, fate: str) -> None:
        self.ask(MovePayment(kind, "me", str(uuid4()), order_id, amount), fate)

    @rule(order_id=orders, fate=fates)
    def void(self, order_id: UUID, fate: str) -> None:
        self.ask(VoidPayment("me", str(uuid4()), order_id), fate)

    @rule(data=st.data(), fate=fates)
    def repeat(self, data: st.DataObject, fate: str) -> None:
        if self.asked:
            self.ask(data.draw(st.sampled_from(self.asked)), fate)

    @rule(between=orders, order_id=orders, amount=amounts)
    def capture_while_a_void_is_on_its_way(
        self, between: UUID, order_id: UUID, amount: int
    ) -> None:
        capture = MovePayment(MovementKind.CAPTURE, "me", str(uuid4()), between, amount)
        self.payments.provider.before = lambda: self.ask(capture, "well")
        self.ask(VoidPayment("me", str(uuid4()), order_id), "well")
        self.payments.provider.before = None

    @rule()
    def sweep(self) -> None:
        self.payments.clock.advance(minutes=2)
        self.payments.sweep()

    def ask(self, command: Command, fate: str) -> None:
        if command not in self.asked:
            self.asked.append(command)
        provider = self.payments.provider
        provider.away, provider.answers_get_lost = fate == "away", fate == "lost"
        if fate.startswith("crash"):
            setattr(provider, fate.partition(" ")[2], self._crash)
        try:
            outcome = self._run(command)
        except Crash:
            return
        finally:
            provider.away = provider.answers_get_lost = False
            if fate.startswith("crash"):
                provider.before = provider.after = None
        if isinstance(outcome, bytes):
            assert self.responses.setdefault(command.request_key, outcome) == outcome
        else:
            assert command.request_key not in self.responses
        if fate == "twice":
            self.ask(command, "well")

    def _run(self, command: Command) -> PaymentOutcome:
        match command:
            case AuthorizePayment():
                return self.payments.authorize_all([command])[0]
            case VoidPayment():
                return self.payments.void_all([command])[0]
            case MovePayment():
                return self.payments.move_all([command])[0]

    @staticmethod
    def _crash() -> None:
        raise Crash

    def stored(self) -> Sequence[tuple[Payment, Sequence[Movement]]]:
        return list(self.payments.tables.reader.get(ORDERS).values())

    @invariant()
    def nothing_exceeds_what_it_comes_from(self) -> None:
        for payment, _ in self.stored():
            sums, amount = payment.sums, payment.terms.amount_minor if payment.terms else 0
            assert 0 <= sums.captured_minor + sums.capturing_minor <= amount
            assert 0 <= sums.refunded_minor + sums.refunding_minor <= sums.captured_minor

    @invariant()
    def the_sums_are_those_of_the_movements(self) -> None:
        for payment, movements in self.stored():
            sums = payment.sums
            expected = (
                (MovementKind.CAPTURE, MovementState.SENT, sums.capturing_minor),
                (MovementKind.CAPTURE, MovementState.DONE, sums.captured_minor),
                (MovementKind.REFUND, MovementState.SENT, sums.refunding_minor),
                (MovementKind.REFUND, MovementState.DONE, sums.refunded_minor),
            )
            for kind, state, total in expected:
                these = [m for m in movements if m.key.kind is kind and m.state is state]
                assert total == sum(m.amount_minor for m in these)

    @invariant()
    def the_state_says_what_was_captured(self) -> None:
        for payment, _ in self.stored():
            amount = payment.terms.amount_minor if payment.terms else 0
            match payment.state:
                case PaymentState.PARTIALLY_CAPTURED:
                    assert 0 < payment.sums.captured_minor < amount
                case PaymentState.CAPTURED:
                    assert payment.sums.captured_minor > 0 or amount == 0
                    assert payment.sums.capturing_minor == 0
                case PaymentState.VOIDING:
                    assert payment.sums.capturing_minor == 0
                case _:
                    assert payment.sums.captured_minor == 0

    @invariant()
    def the_provider_moved_nothing_that_we_know_nothing_of(self) -> None:
        books: Any = self.payments.provider.books
        for payment, _ in self.stored():
            sums = payment.sums
            if (id_ := payment.authorization_id) is not None:
                taken, given = books.moved("capture", id_), books.moved("refund", id_)
                assert sums.captured_minor <= taken <= sums.captured_minor + sums.capturing_minor
                assert sums.refunded_minor <= given <= sums.refunded_minor + sums.refunding_minor
        assert len(books.done("authorize")) <= len(ORDERS)

    def teardown(self) -> None:
        """Once all is quiet, nothing is open, and the provider's books are ours."""
        self.payments.clock.advance(minutes=2)
        for _ in range(3):  # an answer may get lost once more
            self.payments.sweep()
        books = self.payments.provider.books
        for payment, movements in self.stored():
            assert payment.state in FINAL
            assert all(movement.state is not MovementState.SENT for movement in movements)
            if id_ := payment.authorization_id:
                assert books.moved("capture", id_) == payment.sums.captured_minor
                assert books.moved("refund", id_) == payment.sums.refunded_minor
            holds = {PaymentState.AUTHORIZED, PaymentState.PARTIALLY_CAPTURED}
            if payment.state in holds and payment.terms and payment.terms.amount_minor:
                assert id_ in self.payments.provider.held
            if payment.state is PaymentState.VOIDED:
                assert id_ not in self.payments.provider.held


TestPaymentLives = PaymentLives.TestCase
TestPaymentLives.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
