"""Show a saga as it moves."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from trackops_saga_orchestrator.application.ports import SagaView
from trackops_saga_orchestrator.domain.progress import ENDED_STATES

__all__ = ["WatchSagas"]


@dataclass(frozen=True)
class WatchSagas:
    """Looks at the row again and again: any replica may be moving the saga, and few watch."""

    find: Callable[[uuid.UUID], Awaitable[SagaView]]
    """`GetSaga`, without blocking the loop."""
    pause: Callable[[], Awaitable[None]]
    """Between two looks."""

    async def __call__(self, saga_id: uuid.UUID) -> AsyncGenerator[SagaView, None]:
        """The saga each time it was found changed, until it has ended.

        Raises:
            SagaNotFound: no saga has this id.
        """
        shown: SagaView | None = None
        while True:
            found = await self.find(saga_id)
            if found != shown:
                yield found
            if found.snapshot.state in ENDED_STATES:
                return
            shown = found
            await self.pause()
