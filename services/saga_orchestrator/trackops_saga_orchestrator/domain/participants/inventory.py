"""Holds stock for an order."""

from __future__ import annotations

from trackops_saga_orchestrator.domain.steps import Action

reserve = Action("inventory", "reserve")
release = Action("inventory", "release")
