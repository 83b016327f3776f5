"""Books a shipment: its pieces have left, and what they cost is taken."""

from __future__ import annotations

from trackops_saga_orchestrator.domain.participants import inventory, payment
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import RETRIABLE, Step

__all__ = ["FULFIL_ORDER"]

FULFIL_ORDER = Saga(
    "fulfil-order",
    version=1,
    steps=[
        Step("commit-stock", inventory.commit, kind=RETRIABLE),
        Step("capture-payment", payment.capture, kind=RETRIABLE),
    ],
)
"""One for each shipment, whose id is the occurrence; its input is a `GoodsMoved`."""
