"""What a payment refuses.

PaymentError
├── PaymentNotFound          none was ever asked for
├── AuthorizationDeclined    the provider refused; final
├── AuthorizationVoided      a void for this order came first; final
└── ForbiddenTransition      the state machine has no such edge, or the terms are others
"""

from __future__ import annotations

from uuid import UUID

__all__ = [
    "AuthorizationDeclined",
    "AuthorizationVoided",
    "ForbiddenTransition",
    "PaymentError",
    "PaymentNotFound",
]


class PaymentError(Exception):
    """Base of everything that this domain refuses."""

    def __init__(self, order_id: UUID, problem: str) -> None:
        super().__init__(f"the payment of order {order_id} {problem}")
        self.order_id = order_id


class PaymentNotFound(PaymentError):
    """No payment was ever asked for this order."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(order_id, "does not exist")


class AuthorizationDeclined(PaymentError):
    """The provider declined the payment method."""

    def __init__(self, order_id: UUID, *, decline_code: str) -> None:
        super().__init__(order_id, f"was declined: {decline_code}")
        self.decline_code = decline_code


class AuthorizationVoided(PaymentError):
    """The payment was voided, maybe before it was ever authorised."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(order_id, "was voided")


class ForbiddenTransition(PaymentError):
    """A payment in state `frm` cannot go to state `to`."""

    def __init__(self, order_id: UUID, *, frm: str, to: str) -> None:
        super().__init__(order_id, f"is {frm} and cannot become {to}")
        self.frm = frm
        self.to = to
