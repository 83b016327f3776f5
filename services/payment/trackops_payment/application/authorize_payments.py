"""Have the provider hold the amounts of orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
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
    asked_about,
    authorization_request,
    given_responses,
)
from trackops_payment.application.ports import (
    AuthorizationAnswer,
    Authorized,
    Declined,
    EncodePayment,
    HoldProvider,
    UnitOfWorkFactory,
)
from trackops_payment.domain.errors import PaymentError
from trackops_payment.domain.events import PaymentEvent
from trackops_payment.domain.payment import Payment, PaymentState, PaymentTerms

__all__ = ["AuthorizePayment", "AuthorizePayments"]


@dataclass(frozen=True)
class AuthorizePayment:
    """Have the provider hold the amount of one order."""

    principal: str
    request_id: str
    order_id: UUID
    terms: PaymentTerms
    traceparent: str = field(default_factory=current_traceparent, kw_only=True, compare=False)
    """Of what asks for it; no part of what is asked."""

    @property
    def subject(self) -> UUID:
        return self.order_id

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method="AuthorizePayment")

    @cached_property
    def request_hash(self) -> bytes:
        terms = self.terms
        return fingerprint(
            [
                str(self.order_id),
                terms.amount_minor,
                terms.currency_code,
                terms.payment_method_token,
            ]
        )


@dataclass(frozen=True)
class AuthorizePayments:
    """Authorises many payments at once; each command succeeds or fails alone.

    Transaction 1 records what is about to be asked (AUTHORIZING), then the
    provider is asked with no transaction open, then transaction 2 records what
    it said. A crash anywhere leaves AUTHORIZING, and the repeat of the request
    asks again: the provider's key is the order's, so nothing is held twice.
    DECLINED is recorded, and a repeat is refused alike.

    A void may come between. It makes the row VOIDING, under the row's lock:

    - before transaction 1: we find its mark and ask nothing.
    - between the transactions: it asks the provider with our key, so that the
      outcome is known and whichever of the two requests comes second changes
      nothing, and voids what is held. Transaction 2 finds VOIDING or VOIDED,
      records nothing and refuses.
    - after transaction 2: it finds AUTHORIZED and voids that.

    So whatever the order, a row that a void has touched never becomes
    AUTHORIZED, and the void, not we, lets go of the money. Two requests for one
    order at once both ask; the first in transaction 2 records, the second finds
    the stored response, or AUTHORIZED on its own terms.

    Both transactions lock rows of `payments` by order id and nothing else
    before the outbox, so no two batches wait for each other in a circle.
    """

    unit_of_work: UnitOfWorkFactory
    provider: HoldProvider
    encode: EncodePayment
    clock: Clock

    def __call__(self, commands: Sequence[AuthorizePayment]) -> Sequence[PaymentOutcome]:
        outcomes, intended = self._intend(commands)
        answers = self._ask(intended)
        known = {key: one for key, one in answers.items() if not isinstance(one, TransientError)}
        return answer_the_rest(commands, outcomes, answers, lambda rest: self._record(rest, known))

    def ask_again(self, payments: Sequence[Payment]) -> None:
        """Ask the provider about payments that were found AUTHORIZING, and record what it says."""
        answers = self._ask(payments)
        known = {key: one for key, one in answers.items() if not isinstance(one, TransientError)}
        if known:
            self._record((), known)

    def _intend(
        self, commands: Sequence[AuthorizePayment]
    ) -> tuple[Sequence[PaymentOutcome], Sequence[Payment]]:
        """Transaction 1: what can be answered at once, and the payments to ask for."""
        proposed = _proposals(commands, self.clock.now())
        with self.unit_of_work() as work:
            payments = work.payments.claim(list(proposed.values()))
            ledger = RequestLedger(work.requests.find(c.request_key for c in commands))

            def intend(command: AuthorizePayment) -> bytes:
                payment = payments[command.order_id]
                payment.permit(command.terms)
                return ASK if payment.state is PaymentState.AUTHORIZING else self.encode(payment)

            outcomes = [ledger.answer(command, intend, PaymentError) for command in commands]
            asked = asked_about(commands, outcomes)
            new = {id_ for id_, payment in proposed.items() if payments[id_] is payment}
            work.payments.withdraw(new.difference(asked))
            work.requests.save(given_responses(ledger.new))
            work.commit()
        return outcomes, [payments[order_id] for order_id in asked]

    def _ask(self, payments: Sequence[Payment]) -> Mapping[UUID, AuthorizationAnswer]:
        if not payments:
            return {}
        answers = self.provider.authorize([authorization_request(p) for p in payments])
        return {p.order_id: answer for p, answer in zip(payments, answers, strict=True)}

    def _record(
        self, commands: Sequence[AuthorizePayment], answers: Mapping[UUID, Authorized | Declined]
    ) -> Sequence[PaymentOutcome]:
        """Transaction 2: what the provider said, unless somebody was faster or it was voided."""
        now = self.clock.now()
        with self.unit_of_work() as work:
            payments = work.payments.lock(answers)
            ledger = RequestLedger(work.requests.find(_overtaken(commands, payments)))
            events: list[PaymentEvent] = [
                _conclude(payments[order_id], answer, now)
                for order_id, answer in answers.items()
                if payments[order_id].state is PaymentState.AUTHORIZING
            ]

            def record(command: AuthorizePayment) -> bytes:
                payment = payments[command.order_id]
                payment.permit(command.terms)
                return self.encode(payment)

            outcomes = [ledger.answer(command, record, PaymentError) for command in commands]
            work.payments.save([event.payment for event in events])
            work.requests.save(ledger.new)
            traces = {command.order_id: command.traceparent for command in commands}
            work.commit(events, [traces.get(event.payment.order_id, "") for event in events])
        return outcomes


def _proposals(commands: Sequence[AuthorizePayment], now: datetime) -> dict[UUID, Payment]:
    proposed: dict[UUID, Payment] = {}
    for command in commands:
        if command.order_id not in proposed:
            proposed[command.order_id] = Payment.intend(command.order_id, command.terms, now=now)
    return proposed


def _overtaken(
    commands: Sequence[AuthorizePayment], payments: Mapping[UUID, Payment]
) -> list[UUID]:
    """Keys of the requests that may have been answered since transaction 1."""
    return [
        command.request_key
        for command in commands
        if payments[command.order_id].state is not PaymentState.AUTHORIZING
    ]


def _conclude(payment: Payment, answer: Authorized | Declined, now: datetime) -> PaymentEvent:
    match answer:
        case Authorized():
            return payment.authorize(answer.authorization_id, now)
        case Declined():
            return payment.decline(answer.decline_code, now)
