"""A definition that was committed keeps its hash; a change is a new version."""

from __future__ import annotations

import json
from pathlib import Path

from trackops_saga_orchestrator.domain.definitions import DEFINITIONS

HASHES = Path(__file__).parent.parent / "definitions.json"


def test_every_definition_has_the_hash_that_was_committed_for_its_version() -> None:
    """Where it fails: give the changed definition a new version, keep the old one beside it as
    long as sagas of it live, and run scripts/saga_definitions.py."""
    committed = json.loads(HASHES.read_text())
    here = {f"{saga.name} v{saga.version}": saga.hash for saga in DEFINITIONS}
    assert {name: committed.get(name) for name in here} == here
