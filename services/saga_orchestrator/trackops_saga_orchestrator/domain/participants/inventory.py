"""Holds stock for an order."""

from __future__ import annotations

from trackops_saga_orchestrator.domain.steps import Action

reserve = Action("inventory", "reserve")
release = Action("inventory", "release")
commit = Action("inventory", "commit")
"""Reserved pieces leave the house."""
restock = Action("inventory", "restock")
"""Pieces that left come back."""
