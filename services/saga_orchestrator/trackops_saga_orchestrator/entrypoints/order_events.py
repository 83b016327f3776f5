"""What happens to orders starts their sagas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from google.protobuf.message import DecodeError

from trackops_common.database import Transaction
from trackops_common.inbox import Handled, InvalidMessage, Message
from trackops_common.traces import mark
from trackops_saga_orchestrator.application.ports import NewSagas
from trackops_saga_orchestrator.application.start_sagas import StartedSaga, StartSaga, StartSagas
from trackops_saga_orchestrator.domain.saga import Definitions
from trackops_saga_orchestrator.entrypoints.triggers import triggered_by

__all__ = ["OrderEvents"]


@dataclass(frozen=True)
class OrderEvents:
    """Handler of the order events; those that start no saga are not ours.

    An event that comes late, replayed as a dead letter, starts its saga as well
    as one that came in its turn; the saga's turn is then a later one.
    """

    definitions: Definitions
    start: StartSagas
    new_sagas: Callable[[Transaction], NewSagas]
    hand_over: Callable[[Sequence[StartedSaga]], Future[None]]
    """Called after the commit; further messages wait until what it returns is done."""

    def __call__(self, transaction: Transaction, messages: Sequence[Message]) -> Handled:
        starts = [start for message in messages if (start := _start(message)) is not None]
        awaited = [
            (message.key, message.type)
            for message in messages
            if self.definitions.awaiting(message.type)
        ]
        if awaited:
            hashes = {one for _, event in awaited for one in self.definitions.awaiting(event)}
            self.new_sagas(transaction).note_events(awaited, hashes)
        if not starts:
            return Handled()
        started = self.start(self.new_sagas(transaction), starts)
        return Handled(after_commit=lambda: self.hand_over(started))


def _start(message: Message) -> StartSaga | None:
    try:
        start = triggered_by(message.type, message.value)
    except DecodeError as error:
        raise InvalidMessage(message, f"the value is no {message.type}: {error}") from error
    if start is not None and start.subject != message.key:
        raise InvalidMessage(message, f"the order's id is {start.subject!r}, not the key")
    return None if start is None else _in_trace(start, message.traceparent)


def _in_trace(start: StartSaga, traceparent: str) -> StartSaga:
    """Its steps stand under a mark of its begin."""
    about = {"trackops.saga.id": str(start.saga_id), "trackops.saga.subject": start.subject}
    begun = mark(f"start {start.definition.name}", traceparent, about)
    return replace(start, traceparent=begun)
