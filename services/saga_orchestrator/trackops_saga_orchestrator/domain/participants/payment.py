"""Holds money for an order."""

from __future__ import annotations

from trackops_saga_orchestrator.domain.steps import Action

authorize = Action("payment", "authorize")
void = Action("payment", "void")
"""Lets go of what is held and not captured."""
capture = Action("payment", "capture")
"""Takes some or all of what is held."""
refund = Action("payment", "refund")
"""Gives back some or all of what was captured."""
