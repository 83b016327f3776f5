"""Counts of the sagas that are not finished."""

from __future__ import annotations

from dataclasses import dataclass

from trackops_common.database import Database
from trackops_saga_orchestrator.application.census import Census, LiveSagas

__all__ = ["PostgresCensus"]

# Each part has a partial index of its own, and finished sagas are in none of them.
_LIVE = """
SELECT definition, state, count(*), extract(epoch FROM now() - min(create_time))::float8
  FROM (SELECT definition, state, create_time FROM sagas
         WHERE state IN ('RUNNING', 'COMPENSATING')
        UNION ALL
        SELECT definition, state, create_time FROM sagas
         WHERE state IN ('PAUSED', 'NEEDS_OPERATOR')
        UNION ALL
        SELECT definition, state, create_time FROM sagas
         WHERE state = 'QUEUED' AND waits_for IS NOT NULL) AS live
 GROUP BY definition, state
"""

_PARKED = "SELECT parked_on, count(*) FROM sagas WHERE parked_on IS NOT NULL GROUP BY parked_on"


@dataclass(frozen=True, slots=True)
class PostgresCensus:
    """Counts when it is called."""

    database: Database

    def __call__(self) -> Census:
        """Raises `TransientError` where the database does not answer."""
        live = [LiveSagas(*row) for row in self.database.fetch(_LIVE)]
        return Census(live, dict(map(tuple, self.database.fetch(_PARKED))))
