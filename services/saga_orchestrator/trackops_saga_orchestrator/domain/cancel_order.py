"""Lets go of all that was arranged for an order that was confirmed and is cancelled."""

from __future__ import annotations

from trackops_saga_orchestrator.domain.participants import inventory, order, payment
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import RETRIABLE, Step

__all__ = ["CANCEL_ORDER"]

CANCEL_ORDER = Saga(
    "cancel-order",
    version=1,
    steps=[
        Step("void-payment", payment.void, kind=RETRIABLE),
        Step("release-stock", inventory.release, kind=RETRIABLE),
        Step(
            "close-order",
            order.close,
            kind=RETRIABLE,
            after=["void-payment", "release-stock"],
        ),
    ],
)
