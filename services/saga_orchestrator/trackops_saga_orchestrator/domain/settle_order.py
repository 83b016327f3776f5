"""Lets go of what is left of an order whose rest will not be shipped."""

from __future__ import annotations

from trackops_saga_orchestrator.domain.participants import inventory, payment
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import RETRIABLE, Step

__all__ = ["SETTLE_ORDER"]

SETTLE_ORDER = Saga(
    "settle-order",
    version=1,
    steps=[
        Step("void-payment", payment.void, kind=RETRIABLE),
        Step("release-stock", inventory.release, kind=RETRIABLE),
    ],
)
