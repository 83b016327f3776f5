"""Refuse to work where unfinished sagas would be orphaned."""

from __future__ import annotations

from collections.abc import Sequence

from trackops_common.errors import StartRefused
from trackops_saga_orchestrator.application.ports import LiveDefinition, SagaStore
from trackops_saga_orchestrator.domain.saga import Definitions

__all__ = ["OrphanedSagas", "check_definitions"]


class OrphanedSagas(StartRefused):
    """Unfinished sagas are pinned to definitions that this process does not have."""

    def __init__(self, definitions: Sequence[LiveDefinition]) -> None:
        named = "; ".join(map(str, definitions))
        super().__init__(f"no definition here for unfinished sagas: {named}")
        self.definitions = definitions


def check_definitions(definitions: Definitions, store: SagaStore) -> None:
    """Raise `OrphanedSagas` if any saga could not go on."""
    orphaned = [live for live in store.live_definitions() if live.hash not in definitions.hashes]
    if orphaned:
        raise OrphanedSagas(orphaned)
