"""A payment provider that needs no network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from trackops_common.errors import DependencyUnavailable
from trackops_payment.application.ports import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Authorized,
    Declined,
    VoidAnswer,
    Voided,
    VoidRequest,
)

__all__ = ["SimulatedProvider"]

_DECLINES = {
    "tok_declined": "card_declined",
    "tok_expired_card": "expired_card",
    "tok_insufficient_funds": "insufficient_funds",
}
_UNAVAILABLE = "tok_unavailable"


class SimulatedProvider:
    """A `PaymentProvider` whose every answer is a function of key and request alone.

    So it remembers its answers without storing them, and a restart changes
    nothing. How a payment method's token begins decides:

    - `tok_declined`: declined, `card_declined`
    - `tok_expired_card`: declined, `expired_card`
    - `tok_insufficient_funds`: declined, `insufficient_funds`
    - `tok_unavailable`: does not answer
    - anything else: authorised
    """

    def authorize(self, requests: Sequence[AuthorizationRequest]) -> Sequence[AuthorizationAnswer]:
        return [_authorization(request) for request in requests]

    def void(self, requests: Sequence[VoidRequest]) -> Sequence[VoidAnswer]:
        return [Voided() for _ in requests]


def _authorization(request: AuthorizationRequest) -> AuthorizationAnswer:
    token = request.terms.payment_method_token
    if token.startswith(_UNAVAILABLE):
        return DependencyUnavailable("the payment provider")
    for prefix, decline_code in _DECLINES.items():
        if token.startswith(prefix):
            return Declined(decline_code)
    digest = hashlib.blake2b(request.idempotency_key.encode(), digest_size=12).hexdigest()
    return Authorized(f"auth_{digest}")
