"""What a payment refuses.

PaymentError
├── PaymentNotFound          none was ever asked for
├── AuthorizationDeclined    the provider refused; final
├── AuthorizationVoided      a void for this order came first; final
├── AmountTooHigh            less is held, or less was captured and is not refunded yet
├── MovementDeclined         the provider refused the capture or the refund; final
├── MovementOnOtherTerms     the caller's mistake: its id was used for another amount
├── CaptureUnanswered        a void has to wait: a capture's outcome is not known yet
└── ForbiddenTransition      the state machine has no such edge, or the terms are others
"""

from __future__ import annotations

from uuid import UUID

__all__ = [
    "AmountTooHigh",
    "AuthorizationDeclined",
    "AuthorizationVoided",
    "CaptureUnanswered",
    "ForbiddenTransition",
    "MovementDeclined",
    "MovementOnOtherTerms",
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


class AmountTooHigh(PaymentError):
    """More was asked for than is there to move; amounts in minor units."""

    def __init__(self, order_id: UUID, *, requested_minor: int, available_minor: int) -> None:
        super().__init__(order_id, f"has {available_minor} for that, not {requested_minor}")
        self.requested_minor = requested_minor
        self.available_minor = available_minor


class MovementDeclined(PaymentError):
    """The provider declined a capture or a refund; another one may succeed."""

    def __init__(self, order_id: UUID, *, movement_id: UUID, decline_code: str) -> None:
        super().__init__(order_id, f"had movement {movement_id} declined: {decline_code}")
        self.movement_id = movement_id
        self.decline_code = decline_code


class MovementOnOtherTerms(PaymentError):
    """A capture or a refund of this id was asked for before, with another amount."""

    def __init__(self, order_id: UUID, *, movement_id: UUID) -> None:
        super().__init__(order_id, f"has a movement {movement_id} of another amount")
        self.movement_id = movement_id


class CaptureUnanswered(PaymentError):
    """A capture was sent and its outcome is not known, so nobody can tell what a void lets go."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(order_id, "waits for the provider's answer to a capture")


class ForbiddenTransition(PaymentError):
    """A payment in state `frm` cannot go to state `to`."""

    def __init__(self, order_id: UUID, *, frm: str, to: str) -> None:
        super().__init__(order_id, f"is {frm} and cannot become {to}")
        self.frm = frm
        self.to = to
