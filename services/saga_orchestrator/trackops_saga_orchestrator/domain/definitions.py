"""Every saga that this service runs."""

from __future__ import annotations

from trackops_saga_orchestrator.domain.cancel_order import CANCEL_ORDER
from trackops_saga_orchestrator.domain.fulfil_order import FULFIL_ORDER
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.return_order import RETURN_ORDER
from trackops_saga_orchestrator.domain.saga import Definitions
from trackops_saga_orchestrator.domain.settle_order import SETTLE_ORDER

__all__ = ["DEFINITIONS"]

DEFINITIONS = Definitions([PLACE_ORDER, CANCEL_ORDER, FULFIL_ORDER, SETTLE_ORDER, RETURN_ORDER])
