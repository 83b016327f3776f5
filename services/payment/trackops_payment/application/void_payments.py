"""Have the provider let go of what it holds for orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from trackops_common.clock import Clock
from trackops_common.errors import TransientError
from trackops_common.idempotency import RequestLedger, fingerprint, request_key
from trackops_common.tracing import current_traceparent
from trackops_payment.application.asking import (
    ASK,
    PaymentOutcome,
    answer_the_rest,
    answered_orders,
    asked_about,
    authorization_request,
    given_responses,
    void_request,
)
from trackops_payment.application.ports import (
    Authorized,
    EncodePayment,
    HoldProvider,
    UnitOfWorkFactory,
)
from trackops_payment.domain.errors import PaymentError
from trackops_payment.domain.payment import Payment, PaymentState

__all__ = ["VoidPayment", "VoidPayments"]


@dataclass(frozen=True)
class VoidPayment:
    """Let go of what is still held for one order, now and for ever."""

    principal: str
    request_id: str
    order_id: UUID
    traceparent: str = field(default_factory=current_traceparent, kw_only=True, compare=False)
    """Of what asks for it; no part of what is asked."""

    @property
    def subject(self) -> UUID:
        return self.order_id

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method="VoidPayment")

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint([str(self.order_id)])


Released = str | None
"""The authorization that the provider let go of; None if it never held anything."""


@dataclass(frozen=True)
class VoidPayments:
    """Voids many payments at once; each command succeeds or fails alone.

    An order without a payment gets one that is VOIDED from the start, the mark
    that refuses an authorization which arrives later. VOIDED, DECLINED and
    CAPTURED hold nothing and stay. All others become VOIDING in transaction 1,
    are voided at the provider with no transaction open, and in transaction 2
    become VOIDED, or CAPTURED where some of the amount was captured before. A
    crash anywhere leaves VOIDING, and the repeat of the request goes on.

    While a capture is SENT a void is refused, to be sent again: what it would
    let go of depends on the answer. From VOIDING on, no capture begins.

    Where the outcome of the authorization is not known (it was AUTHORIZING),
    the provider is first asked again under the authorization's own key. That
    tells what to void, and it closes the door: an authorization still on its
    way there finds its key used and holds nothing. `AuthorizePayments` says why
    its second transaction leaves such a row to us.
    """

    unit_of_work: UnitOfWorkFactory
    provider: HoldProvider
    encode: EncodePayment
    clock: Clock

    def __call__(self, commands: Sequence[VoidPayment]) -> Sequence[PaymentOutcome]:
        outcomes, voiding = self._begin(commands)
        answers = self._let_go(voiding)
        known = {key: one for key, one in answers.items() if not isinstance(one, TransientError)}
        return answer_the_rest(commands, outcomes, answers, lambda rest: self._finish(rest, known))

    def ask_again(self, payments: Sequence[Payment]) -> None:
        """Void payments that were found VOIDING at the provider, and record what it says."""
        answers = self._let_go(payments)
        known = {key: one for key, one in answers.items() if not isinstance(one, TransientError)}
        if known:
            self._finish((), known)

    def _begin(
        self, commands: Sequence[VoidPayment]
    ) -> tuple[Sequence[PaymentOutcome], Sequence[Payment]]:
        """Transaction 1: what can be answered at once, and the payments that are VOIDING now."""
        now = self.clock.now()
        marks = {c.order_id: Payment.mark_voided(c.order_id, now=now) for c in commands}
        with self.unit_of_work() as work:
            payments = work.payments.claim(list(marks.values()))
            ledger = RequestLedger(work.requests.find(c.request_key for c in commands))

            def begin(command: VoidPayment) -> bytes:
                payment = payments[command.order_id]
                return ASK if payment.begin_void(now) else self.encode(payment)

            outcomes = [ledger.answer(command, begin, PaymentError) for command in commands]
            voiding = [payments[order_id] for order_id in asked_about(commands, outcomes)]
            new = {id_ for id_, mark in marks.items() if payments[id_] is mark}
            work.payments.withdraw(new - answered_orders(commands, outcomes))
            work.payments.save(voiding)
            work.requests.save(given_responses(ledger.new))
            work.commit()
        return outcomes, voiding

    def _let_go(self, payments: Sequence[Payment]) -> Mapping[UUID, Released | TransientError]:
        released = self._resolve([p for p in payments if p.authorization_id is None])
        known = {p.order_id: p.authorization_id for p in payments if p.authorization_id}
        held = known | {id_: found for id_, found in released.items() if isinstance(found, str)}
        if held:
            answers = self.provider.void([void_request(*item) for item in held.items()])
            for (order_id, authorization_id), answer in zip(held.items(), answers, strict=True):
                released[order_id] = (
                    answer if isinstance(answer, TransientError) else authorization_id
                )
        return released

    def _resolve(self, payments: Sequence[Payment]) -> dict[UUID, Released | TransientError]:
        """What the provider holds for payments whose authorization has no known outcome."""
        if not payments:
            return {}
        answers = self.provider.authorize([authorization_request(p) for p in payments])
        found: dict[UUID, Released | TransientError] = {}
        for payment, answer in zip(payments, answers, strict=True):
            match answer:
                case Authorized():
                    found[payment.order_id] = answer.authorization_id
                case TransientError():
                    found[payment.order_id] = answer
                case _:
                    found[payment.order_id] = None
        return found

    def _finish(
        self, commands: Sequence[VoidPayment], released: Mapping[UUID, Released]
    ) -> Sequence[PaymentOutcome]:
        """Transaction 2: nothing is held any more, unless somebody recorded that before us."""
        now = self.clock.now()
        with self.unit_of_work() as work:
            payments = work.payments.lock(released)
            voiding = {id_: p for id_, p in payments.items() if p.state is PaymentState.VOIDING}
            overtaken = [c.request_key for c in commands if c.order_id not in voiding]
            ledger = RequestLedger(work.requests.find(overtaken))
            finished = [p.finish_void(released[id_], now) for id_, p in voiding.items()]
            facts = [fact for fact in finished if fact]

            def finish(command: VoidPayment) -> bytes:
                return self.encode(payments[command.order_id])

            outcomes = [ledger.answer(command, finish, PaymentError) for command in commands]
            work.payments.save(list(voiding.values()))
            work.requests.save(ledger.new)
            traces = {command.order_id: command.traceparent for command in commands}
            work.commit(facts, [traces.get(fact.payment.order_id, "") for fact in facts])
        return outcomes
