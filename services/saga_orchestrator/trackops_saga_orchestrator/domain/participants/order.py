"""The order itself."""

from __future__ import annotations

from trackops_saga_orchestrator.domain.steps import Action

confirm = Action("order", "confirm")
close = Action("order", "close")
