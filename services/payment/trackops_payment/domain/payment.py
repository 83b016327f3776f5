"""The payment aggregate and its state machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from trackops_payment.domain.errors import (
    AmountTooHigh,
    AuthorizationDeclined,
    AuthorizationVoided,
    CaptureUnanswered,
    ForbiddenTransition,
)
from trackops_payment.domain.events import (
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentVoided,
)
from trackops_payment.domain.movement import Movement, MovementKey, MovementKind, MovementState

__all__ = ["NOTHING_MOVED", "TRANSITIONS", "Payment", "PaymentState", "PaymentSums", "PaymentTerms"]


class PaymentState(StrEnum):
    """Where a payment stands. The -ING states wait for an answer of the provider."""

    AUTHORIZING = "AUTHORIZING"
    AUTHORIZED = "AUTHORIZED"
    DECLINED = "DECLINED"
    VOIDING = "VOIDING"
    VOIDED = "VOIDED"
    PARTIALLY_CAPTURED = "PARTIALLY_CAPTURED"
    CAPTURED = "CAPTURED"


TRANSITIONS: Mapping[PaymentState, frozenset[PaymentState]] = {
    PaymentState.AUTHORIZING: frozenset(
        {PaymentState.AUTHORIZED, PaymentState.DECLINED, PaymentState.VOIDING}
    ),
    PaymentState.AUTHORIZED: frozenset(
        {PaymentState.VOIDING, PaymentState.PARTIALLY_CAPTURED, PaymentState.CAPTURED}
    ),
    PaymentState.DECLINED: frozenset(),
    PaymentState.VOIDING: frozenset({PaymentState.VOIDED, PaymentState.CAPTURED}),
    PaymentState.VOIDED: frozenset(),
    PaymentState.PARTIALLY_CAPTURED: frozenset({PaymentState.VOIDING, PaymentState.CAPTURED}),
    PaymentState.CAPTURED: frozenset(),
}
"""The state machine, once: from each state, the states that may follow."""


@dataclass(frozen=True, slots=True)
class PaymentTerms:
    """What is to be paid, and with what."""

    amount_minor: int
    currency_code: str
    payment_method_token: str


@dataclass(frozen=True, slots=True)
class PaymentSums:
    """The sums of a payment's movements, in minor units: those SENT, and those DONE."""

    capturing_minor: int = 0
    captured_minor: int = 0
    refunding_minor: int = 0
    refunded_minor: int = 0

    def moved(self, kind: MovementKind, *, sent: int, done: int = 0) -> PaymentSums:
        """These sums with `sent` and `done` added for movements of `kind`."""
        if kind is MovementKind.CAPTURE:
            return replace(
                self,
                capturing_minor=self.capturing_minor + sent,
                captured_minor=self.captured_minor + done,
            )
        return replace(
            self,
            refunding_minor=self.refunding_minor + sent,
            refunded_minor=self.refunded_minor + done,
        )


NOTHING_MOVED = PaymentSums()


@dataclass(slots=True)
class Payment:
    """The payment of one order. Its state and sums change through its methods only.

    What was captured, or is about to be, never exceeds the amount; what was
    refunded, or is about to be, never exceeds what was captured.
    """

    order_id: UUID
    state: PaymentState
    terms: PaymentTerms | None
    """None where the void came before anything was to be authorised."""
    authorization_id: str | None
    decline_code: str | None
    version: int
    create_time: datetime
    update_time: datetime
    sums: PaymentSums = NOTHING_MOVED

    @classmethod
    def intend(cls, order_id: UUID, terms: PaymentTerms, *, now: datetime) -> Payment:
        """A new payment, AUTHORIZING: the provider is about to be asked."""
        return cls(order_id, PaymentState.AUTHORIZING, terms, None, None, 1, now, now)

    @classmethod
    def mark_voided(cls, order_id: UUID, *, now: datetime) -> Payment:
        """The mark of a void that came before its authorization."""
        return cls(order_id, PaymentState.VOIDED, None, None, None, 1, now, now)

    @classmethod
    def rehydrate(
        cls,
        *,
        order_id: UUID,
        state: str,
        terms: PaymentTerms | None,
        authorization_id: str | None,
        decline_code: str | None,
        version: int,
        create_time: datetime,
        update_time: datetime,
        sums: PaymentSums = NOTHING_MOVED,
    ) -> Payment:
        """A payment as it was stored, unchecked. For repositories only."""
        return cls(
            order_id,
            PaymentState(state),
            terms,
            authorization_id,
            decline_code,
            version,
            create_time,
            update_time,
            sums,
        )

    def permit(self, terms: PaymentTerms) -> None:
        """Check that the payment is authorised, or may still be, on these terms.

        Raises:
            AuthorizationVoided: it was voided, maybe in part, or is about to be.
            AuthorizationDeclined: the provider refused.
            ForbiddenTransition: its terms are others.
        """
        if self._was_voided:
            raise AuthorizationVoided(self.order_id)
        if self.state is PaymentState.DECLINED:
            raise AuthorizationDeclined(self.order_id, decline_code=self.decline_code or "")
        if self.terms != terms:
            raise ForbiddenTransition(self.order_id, frm=self.state, to=PaymentState.AUTHORIZING)

    def authorize(self, authorization_id: str, now: datetime) -> PaymentAuthorized:
        """The provider holds the amount.

        Raises:
            ForbiddenTransition: the payment is not AUTHORIZING.
        """
        self._enter(PaymentState.AUTHORIZED, now)
        self.authorization_id = authorization_id
        return PaymentAuthorized(self)

    def decline(self, decline_code: str, now: datetime) -> PaymentDeclined:
        """The provider refused.

        Raises:
            ForbiddenTransition: the payment is not AUTHORIZING.
        """
        self._enter(PaymentState.DECLINED, now)
        self.decline_code = decline_code
        return PaymentDeclined(self)

    def begin_void(self, now: datetime) -> bool:
        """Whether the provider is still to be told; the payment is VOIDING if so.

        False where nothing is held: VOIDED, DECLINED and CAPTURED stay what they are.

        Raises:
            CaptureUnanswered: what is held is not known, because a capture is SENT.
        """
        if self.sums.capturing_minor:
            raise CaptureUnanswered(self.order_id)
        if not TRANSITIONS[self.state]:
            return False
        if self.state is not PaymentState.VOIDING:
            self._enter(PaymentState.VOIDING, now)
        return True

    def finish_void(self, authorization_id: str | None, now: datetime) -> PaymentVoided | None:
        """The provider let go of `authorization_id`; None if it had never held anything.

        The payment is CAPTURED now if some of it was captured before, else VOIDED.

        Raises:
            ForbiddenTransition: the payment is not VOIDING.
        """
        captured = self.sums.captured_minor > 0
        self._enter(PaymentState.CAPTURED if captured else PaymentState.VOIDED, now)
        self.authorization_id = authorization_id
        return PaymentVoided(self) if authorization_id is not None else None

    def begin_movement(self, key: MovementKey, amount_minor: int, now: datetime) -> Movement:
        """A new movement, SENT: the provider is about to be asked. 0 is an amount like any other.

        Raises:
            AuthorizationVoided: nothing is held any more, or never was.
            AuthorizationDeclined: the provider refused to hold anything.
            ForbiddenTransition: whether anything is held is not known yet.
            AmountTooHigh: less is held, or less was captured and is not refunded yet.
        """
        available = self._capturable() if key.kind is MovementKind.CAPTURE else self._refundable()
        if amount_minor > available:
            raise AmountTooHigh(
                self.order_id, requested_minor=amount_minor, available_minor=available
            )
        self.sums = self.sums.moved(key.kind, sent=amount_minor)
        self._touch(now)
        return Movement(key, MovementState.SENT, amount_minor, None, None, now, now)

    def finish_movement(
        self, movement: Movement, provider_id: str, now: datetime
    ) -> PaymentCaptured | PaymentRefunded:
        """The provider moved the money of a SENT `movement`."""
        kind = movement.key.kind
        amount = self._settle(movement, MovementState.DONE, now)
        self.sums = self.sums.moved(kind, sent=-amount, done=amount)
        movement.provider_id = provider_id
        if kind is MovementKind.CAPTURE and (state := self._captured_state()) is not self.state:
            self._enter(state, now)
        else:
            self._touch(now)
        fact = PaymentCaptured if kind is MovementKind.CAPTURE else PaymentRefunded
        return fact(replace(self), movement)

    def decline_movement(self, movement: Movement, decline_code: str, now: datetime) -> None:
        """The provider refused a SENT `movement`; its amount is available again."""
        amount = self._settle(movement, MovementState.DECLINED, now)
        self.sums = self.sums.moved(movement.key.kind, sent=-amount)
        movement.decline_code = decline_code
        self._touch(now)

    @property
    def _was_voided(self) -> bool:
        if self.state is PaymentState.CAPTURED:
            return self.terms is None or self.sums.captured_minor < self.terms.amount_minor
        return self.state in (PaymentState.VOIDING, PaymentState.VOIDED)

    def _held(self) -> PaymentTerms:
        """The terms on which the provider holds money, or held it."""
        if self.state is PaymentState.DECLINED:
            raise AuthorizationDeclined(self.order_id, decline_code=self.decline_code or "")
        if self.state is PaymentState.AUTHORIZING:
            raise ForbiddenTransition(self.order_id, frm=self.state, to=PaymentState.CAPTURED)
        if self.terms is None or self.authorization_id is None:
            raise AuthorizationVoided(self.order_id)
        return self.terms

    def _capturable(self) -> int:
        terms = self._held()
        if self._was_voided:
            raise AuthorizationVoided(self.order_id)
        return terms.amount_minor - self.sums.captured_minor - self.sums.capturing_minor

    def _refundable(self) -> int:
        self._held()
        return self.sums.captured_minor - self.sums.refunded_minor - self.sums.refunding_minor

    def _captured_state(self) -> PaymentState:
        if self.state not in (PaymentState.AUTHORIZED, PaymentState.PARTIALLY_CAPTURED):
            return self.state
        if self.terms and self.sums.captured_minor == self.terms.amount_minor:
            return PaymentState.CAPTURED
        return PaymentState.PARTIALLY_CAPTURED if self.sums.captured_minor else self.state

    def _settle(self, movement: Movement, state: MovementState, now: datetime) -> int:
        if movement.state is not MovementState.SENT:
            raise ForbiddenTransition(self.order_id, frm=movement.state, to=state)
        movement.state = state
        movement.update_time = max(now, movement.update_time)
        return movement.amount_minor

    def _enter(self, state: PaymentState, now: datetime) -> None:
        if state not in TRANSITIONS[self.state]:
            raise ForbiddenTransition(self.order_id, frm=self.state, to=state)
        self.state = state
        self._touch(now)

    def _touch(self, now: datetime) -> None:
        self.version += 1
        self.update_time = max(now, self.update_time)
