"""Books a return: its pieces are back, and what they cost is given back."""

from __future__ import annotations

from trackops_saga_orchestrator.domain.goods_moved import GoodsMoved
from trackops_saga_orchestrator.domain.participants import inventory, payment
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import RETRIABLE, Condition, Step

__all__ = ["RETURN_ORDER"]

_SOMETHING_TO_REFUND = Condition(
    "something to refund", lambda given: GoodsMoved.from_input(given).amount_minor > 0
)

RETURN_ORDER = Saga(
    "return-order",
    version=1,
    steps=[
        Step("refund-payment", payment.refund, kind=RETRIABLE, when=_SOMETHING_TO_REFUND),
        Step("restock-items", inventory.restock, kind=RETRIABLE),
    ],
)
"""One for each return, whose id is the occurrence; its input is a `GoodsMoved`."""
