"""Accepted orders start their sagas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from trackops.order.v1 import order_events_pb2

from trackops_common.database import Transaction
from trackops_common.inbox import Handled, InvalidMessage, Message
from trackops_saga_orchestrator.application.ports import NewSagas
from trackops_saga_orchestrator.application.start_sagas import StartedSaga, StartSaga, StartSagas
from trackops_saga_orchestrator.entrypoints.converters import place_order

__all__ = ["OrderEvents"]

_ORDER_PLACED = order_events_pb2.OrderPlaced.DESCRIPTOR.full_name


@dataclass(frozen=True)
class OrderEvents:
    """Handler of the order events: OrderPlaced starts place-order, the rest is not ours.

    Each OrderPlaced stands for itself, so one that comes late, replayed as a
    dead letter, starts its saga as well as one that came in its turn.
    """

    start: StartSagas
    new_sagas: Callable[[Transaction], NewSagas]
    hand_over: Callable[[Sequence[StartedSaga]], Future[None]]
    """Called after the commit; further messages wait until what it returns is done."""

    def __call__(self, transaction: Transaction, messages: Sequence[Message]) -> Handled:
        starts = [_start(message) for message in messages if message.type == _ORDER_PLACED]
        if not starts:
            return Handled()
        started = self.start(self.new_sagas(transaction), starts)
        return Handled(after_commit=lambda: self.hand_over(started))


def _start(message: Message) -> StartSaga:
    event = message.parse(order_events_pb2.OrderPlaced)
    if event.order.order_id != message.key:
        raise InvalidMessage(message, f"the order's id is {event.order.order_id!r}, not the key")
    return place_order(event)
