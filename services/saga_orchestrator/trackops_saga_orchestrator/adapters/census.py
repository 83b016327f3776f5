"""Counts of the sagas that are not finished."""

from __future__ import annotations

from dataclasses import dataclass

from trackops_common.database import Database
from trackops_saga_orchestrator.adapters.encoding import STEP_CODES
from trackops_saga_orchestrator.application.census import Census, LiveSagas, SagasAtStep
from trackops_saga_orchestrator.domain.progress import StepState

__all__ = ["PostgresCensus"]

# Each part has a partial index of its own, and finished sagas are in none of them.
#
# A refused step is where a saga stands only if that is why it needs an operator; else it is why
# the others are undone.
_COUNTED = """
WITH live AS (
    SELECT definition, state, steps, create_time FROM sagas
     WHERE state IN ('RUNNING', 'COMPENSATING')
    UNION ALL
    SELECT definition, state, steps, create_time FROM sagas
     WHERE state IN ('PAUSED', 'NEEDS_OPERATOR')
    UNION ALL
    SELECT definition, state, steps, create_time FROM sagas
     WHERE state = 'QUEUED' AND waits_for IS NOT NULL)
SELECT definition, state, NULL, count(*), extract(epoch FROM now() - min(create_time))::float8
  FROM live
 GROUP BY definition, state
UNION ALL
SELECT definition, state, step ->> 0, count(*),
       extract(epoch FROM now() - min(create_time))::float8
  FROM live, jsonb_array_elements(steps) AS step
 WHERE step ->> 1 = ANY(%(codes)s) OR (step ->> 1 = %(refused)s AND state = 'NEEDS_OPERATOR')
 GROUP BY definition, state, step ->> 0
"""

_STANDS_AT = {
    "codes": [
        STEP_CODES[state]
        for state in (
            StepState.AWAITING,
            StepState.SENT,
            StepState.COMPENSATING,
            StepState.EXHAUSTED,
        )
    ],
    "refused": STEP_CODES[StepState.REFUSED],
}

_PARKED = "SELECT parked_on, count(*) FROM sagas WHERE parked_on IS NOT NULL GROUP BY parked_on"


@dataclass(frozen=True, slots=True)
class PostgresCensus:
    """Counts when it is called."""

    database: Database

    def __call__(self) -> Census:
        """Raises `TransientError` where the database does not answer."""
        live, steps = [], []
        for definition, state, step, *numbers in self.database.fetch(_COUNTED, _STANDS_AT):
            if step is None:
                live.append(LiveSagas(definition, state, *numbers))
            else:
                steps.append(SagasAtStep(definition, state, step, *numbers))
        return Census(live, steps, dict(map(tuple, self.database.fetch(_PARKED))))
