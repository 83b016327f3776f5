"""What happens to orders starts their sagas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trackops_common.database import Transaction
from trackops_common.inbox import Handled, Message
from trackops_saga_orchestrator.application.ports import NewSagas
from trackops_saga_orchestrator.application.start_sagas import StartedSaga, StartSagas
from trackops_saga_orchestrator.domain.saga import Definitions
from trackops_saga_orchestrator.entrypoints.triggers import triggered_by

__all__ = ["OrderEvents"]


@dataclass(frozen=True)
class OrderEvents:
    """Handler of the order events; those that start no saga are not ours."""

    definitions: Definitions
    start: StartSagas
    new_sagas: Callable[[Transaction], NewSagas]
    hand_over: Callable[[Sequence[StartedSaga]], None]
    """Called after the commit; it may block to hold further messages back."""

    def __call__(self, transaction: Transaction, messages: Sequence[Message]) -> Handled:
        found = (triggered_by(message.type, message.value) for message in messages)
        starts = [start for start in found if start is not None]
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
