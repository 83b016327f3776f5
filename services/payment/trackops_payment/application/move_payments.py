"""Have the provider take what it holds for orders, or give back what was taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    given_responses,
    movement_request,
)
from trackops_payment.application.ports import (
    Declined,
    EncodeMovement,
    Moved,
    MovementAnswer,
    MoveProvider,
    UnitOfWorkFactory,
)
from trackops_payment.domain.errors import PaymentError, PaymentNotFound
from trackops_payment.domain.events import PaymentEvent
from trackops_payment.domain.movement import Movement, MovementKey, MovementKind, MovementState
from trackops_payment.domain.payment import Payment

__all__ = ["MovePayment", "MovePayments"]

_METHODS = {MovementKind.CAPTURE: "CapturePayment", MovementKind.REFUND: "RefundPayment"}


@dataclass(frozen=True)
class MovePayment:
    """Capture or refund some or all of the payment of one order."""

    kind: MovementKind
    principal: str
    request_id: str
    order_id: UUID
    amount_minor: int
    traceparent: str = field(default_factory=current_traceparent, kw_only=True, compare=False)
    """Of what asks for it; no part of what is asked."""

    @cached_property
    def subject(self) -> MovementKey:
        return MovementKey(self.order_id, self.kind, UUID(self.request_id))

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method=_METHODS[self.kind])

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint([str(self.order_id), self.amount_minor])


@dataclass(frozen=True)
class MovePayments:
    """Captures and refunds many payments at once; each command succeeds or fails alone.

    Transaction 1 stores the movement as SENT and counts it in the payment's
    sums, then the provider is asked with no transaction open, then transaction
    2 records what it said: DONE, or DECLINED, which frees the amount again. The
    payment's row is locked in both, and so two movements of one payment never
    count on the same money.

    A crash or a lost answer leaves SENT. The repeat of the request finds the
    movement and asks again under the same key, so nothing is moved twice; so
    does whoever looks for movements that nobody repeats (`ask_again`). Whoever
    comes second in transaction 2 finds the movement settled and changes nothing.

    The movement's row, which is named by the request, outlives the stored
    response: also a repeat that comes very late moves nothing.
    """

    unit_of_work: UnitOfWorkFactory
    provider: MoveProvider
    encode: EncodeMovement
    clock: Clock

    def __call__(self, commands: Sequence[MovePayment]) -> Sequence[PaymentOutcome]:
        outcomes, sent = self._send(commands)
        answers = self._ask(sent)
        known = {key: one for key, one in answers.items() if not isinstance(one, TransientError)}
        return answer_the_rest(commands, outcomes, answers, lambda rest: self._record(rest, known))

    def ask_again(self, sent: Sequence[tuple[Payment, Movement]]) -> None:
        """Ask the provider about movements that were found SENT, and record what it says."""
        answers = self._ask(sent)
        known = {key: one for key, one in answers.items() if not isinstance(one, TransientError)}
        if known:
            self._record((), known)

    def _send(
        self, commands: Sequence[MovePayment]
    ) -> tuple[Sequence[PaymentOutcome], Sequence[tuple[Payment, Movement]]]:
        """Transaction 1: what can be answered at once, and the movements to ask for."""
        now = self.clock.now()
        with self.unit_of_work() as work:
            payments = work.payments.lock({command.order_id for command in commands})
            movements = dict(work.movements.find({command.subject for command in commands}))
            ledger = RequestLedger(work.requests.find(c.request_key for c in commands))
            new: list[Movement] = []

            def send(command: MovePayment) -> bytes:
                payment = payments.get(command.order_id)
                if payment is None:
                    raise PaymentNotFound(command.order_id)
                if command.subject not in movements:
                    begun = payment.begin_movement(command.subject, command.amount_minor, now)
                    movements[command.subject] = begun
                    new.append(begun)
                return self._response(command, payment, movements[command.subject])

            outcomes = [ledger.answer(command, send, PaymentError) for command in commands]
            work.movements.add(new)
            work.payments.save(_payments_of(new, payments))
            work.requests.save(given_responses(ledger.new))
            work.commit()
        asked = [movements[key] for key in asked_about(commands, outcomes)]
        return outcomes, [(payments[one.key.order_id], one) for one in asked]

    def _ask(
        self, sent: Sequence[tuple[Payment, Movement]]
    ) -> Mapping[MovementKey, MovementAnswer]:
        answers: dict[MovementKey, MovementAnswer] = {}
        for kind, ask in (
            (MovementKind.CAPTURE, self.provider.capture),
            (MovementKind.REFUND, self.provider.refund),
        ):
            requests = {m.key: movement_request(p, m) for p, m in sent if m.key.kind is kind}
            if requests:
                answers |= zip(requests, ask(list(requests.values())), strict=True)
        return answers

    def _record(
        self, commands: Sequence[MovePayment], answers: Mapping[MovementKey, Moved | Declined]
    ) -> Sequence[PaymentOutcome]:
        """Transaction 2: what the provider said, unless somebody was faster."""
        now = self.clock.now()
        with self.unit_of_work() as work:
            payments = work.payments.lock({key.order_id for key in answers})
            movements = work.movements.find(answers)
            sent = [m for m in movements.values() if m.state is MovementState.SENT]
            awaited = {movement.key for movement in sent}
            overtaken = [c.request_key for c in commands if c.subject not in awaited]
            ledger = RequestLedger(work.requests.find(overtaken))
            concluded = [
                (_conclude(payments[m.key.order_id], m, answers[m.key], now), m.key) for m in sent
            ]

            def record(command: MovePayment) -> bytes:
                payment = payments[command.order_id]
                return self._response(command, payment, movements[command.subject])

            outcomes = [ledger.answer(command, record, PaymentError) for command in commands]
            work.movements.save(sent)
            work.payments.save(_payments_of(sent, payments))
            work.requests.save(ledger.new)
            traces = {command.subject: command.traceparent for command in commands}
            facts = {key: fact for fact, key in concluded if fact}
            work.commit(list(facts.values()), [traces.get(key, "") for key in facts])
        return outcomes

    def _response(self, command: MovePayment, payment: Payment, movement: Movement) -> bytes:
        movement.permit(command.amount_minor)
        return ASK if movement.state is MovementState.SENT else self.encode(payment, movement)


def _payments_of(movements: Iterable[Movement], payments: Mapping[UUID, Payment]) -> list[Payment]:
    return [payments[order_id] for order_id in {m.key.order_id for m in movements}]


def _conclude(
    payment: Payment, movement: Movement, answer: Moved | Declined, now: datetime
) -> PaymentEvent | None:
    match answer:
        case Moved():
            return payment.finish_movement(movement, answer.provider_id, now)
        case Declined():
            payment.decline_movement(movement, answer.decline_code, now)
            return None
