"""Accepted orders start their sagas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trackops.order.v1 import order_events_pb2

from trackops_common.database import Transaction
from trackops_common.inbox import Handled, Message
from trackops_saga_orchestrator.application.ports import NewSagas
from trackops_saga_orchestrator.application.start_sagas import StartedSaga, StartSagas
from trackops_saga_orchestrator.entrypoints.converters import place_order

__all__ = ["OrderEvents"]

_ORDER_PLACED = order_events_pb2.OrderPlaced.DESCRIPTOR.full_name


@dataclass(frozen=True)
class OrderEvents:
    """Handler of the order events: OrderPlaced starts place-order, the rest is not ours."""

    start: StartSagas
    new_sagas: Callable[[Transaction], NewSagas]
    hand_over: Callable[[Sequence[StartedSaga]], None]
    """Called after the commit; it may block to hold further messages back."""

    def __call__(self, transaction: Transaction, messages: Sequence[Message]) -> Handled:
        starts = [
            place_order(order_events_pb2.OrderPlaced.FromString(message.value))
            for message in messages
            if message.type == _ORDER_PLACED
        ]
        if not starts:
            return Handled()
        started = self.start(self.new_sagas(transaction), starts)
        return Handled(after_commit=lambda: self.hand_over(started))
