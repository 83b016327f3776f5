"""Holds money for an order."""

from __future__ import annotations

from trackops_saga_orchestrator.domain.steps import Action

authorize = Action("payment", "authorize")
void = Action("payment", "void")
