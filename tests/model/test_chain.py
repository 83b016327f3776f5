"""As it is built, nothing goes wrong in any state; built wrong, something does."""

from __future__ import annotations

from dataclasses import fields

import pytest

from . import chain, saga
from .chain_state import Flaws
from .saga_state import SagaFlaws
from .sections import FLAWS, SECTIONS, Flaw, as_text, explored

_ONLY_WITH_FLAWS = {
    "writes the checkpoint by itself",
    "looks again",
    "moves the position later",
    "sends before it writes",
    "writes after it sent",
}
"""Steps that the model as it is built never makes."""


def test_as_it_is_built_every_state_keeps_every_promise() -> None:
    taken: set[str] = set()
    for section in SECTIONS:
        found = explored(section)
        assert found.broken is None, f"{section}: {as_text(found.broken)}"
        assert found.done, f"{section} never ends"
        taken |= found.taken
    moves = {move.name for move in chain.MOVES}
    moves |= {take.__name__.replace("_", " ") for take in saga.MOVES}
    assert moves - taken == _ONLY_WITH_FLAWS


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.name)
def test_each_flaw_is_found(flaw: Flaw) -> None:
    broken = explored(flaw.section, flaw.name).broken
    assert broken is not None
    assert broken.invariant == flaw.caught_by, as_text(broken)


def test_every_flaw_is_tried() -> None:
    known = {field.name for field in (*fields(Flaws), *fields(SagaFlaws))}
    assert {flaw.name for flaw in FLAWS} == known


def test_the_bounds_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = explored("inbox").states
    monkeypatch.setenv("TRACKOPS_MODEL_MORE", "rows=1")
    assert explored("inbox").states > usual
    monkeypatch.setenv("TRACKOPS_MODEL_MORE", "row=1")
    with pytest.raises(ValueError, match="not row"):
        explored("inbox")
