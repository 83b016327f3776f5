"""The payment aggregate and its state machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from trackops_payment.domain.errors import (
    AuthorizationDeclined,
    AuthorizationVoided,
    ForbiddenTransition,
)
from trackops_payment.domain.events import PaymentAuthorized, PaymentDeclined, PaymentVoided

__all__ = ["TRANSITIONS", "Payment", "PaymentState", "PaymentTerms"]


class PaymentState(StrEnum):
    """Where a payment stands. The -ING states wait for an answer of the provider."""

    AUTHORIZING = "AUTHORIZING"
    AUTHORIZED = "AUTHORIZED"
    DECLINED = "DECLINED"
    VOIDING = "VOIDING"
    VOIDED = "VOIDED"


TRANSITIONS: Mapping[PaymentState, frozenset[PaymentState]] = {
    PaymentState.AUTHORIZING: frozenset(
        {PaymentState.AUTHORIZED, PaymentState.DECLINED, PaymentState.VOIDING}
    ),
    PaymentState.AUTHORIZED: frozenset({PaymentState.VOIDING}),
    PaymentState.DECLINED: frozenset(),
    PaymentState.VOIDING: frozenset({PaymentState.VOIDED}),
    PaymentState.VOIDED: frozenset(),
}
"""The state machine, once: from each state, the states that may follow."""


@dataclass(frozen=True, slots=True)
class PaymentTerms:
    """What is to be paid, and with what."""

    amount_minor: int
    currency_code: str
    payment_method_token: str


@dataclass(slots=True)
class Payment:
    """The payment of one order. Its state changes through its methods only."""

    order_id: UUID
    state: PaymentState
    terms: PaymentTerms | None
    """None where the void came before anything was to be authorised."""
    authorization_id: str | None
    decline_code: str | None
    version: int
    create_time: datetime
    update_time: datetime

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
        )

    def permit(self, terms: PaymentTerms) -> None:
        """Check that the payment is authorised, or may still be, on these terms.

        Raises:
            AuthorizationVoided: it is VOIDED, or about to be.
            AuthorizationDeclined: the provider refused.
            ForbiddenTransition: its terms are others.
        """
        if self.state in (PaymentState.VOIDING, PaymentState.VOIDED):
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

        False where nothing is held: VOIDED and DECLINED stay what they are.
        """
        if self.state in (PaymentState.VOIDED, PaymentState.DECLINED):
            return False
        if self.state is not PaymentState.VOIDING:
            self._enter(PaymentState.VOIDING, now)
        return True

    def finish_void(self, authorization_id: str | None, now: datetime) -> PaymentVoided | None:
        """The provider let go of `authorization_id`; None if it had never held anything.

        Raises:
            ForbiddenTransition: the payment is not VOIDING.
        """
        self._enter(PaymentState.VOIDED, now)
        self.authorization_id = authorization_id
        return PaymentVoided(self) if authorization_id is not None else None

    def _enter(self, state: PaymentState, now: datetime) -> None:
        if state not in TRANSITIONS[self.state]:
            raise ForbiddenTransition(self.order_id, frm=self.state, to=state)
        self.state = state
        self.version += 1
        self.update_time = max(now, self.update_time)
