"""What the sagas of shipments and returns know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from trackops_saga_orchestrator.domain.steps import Json

__all__ = ["GoodsMoved"]


@dataclass(frozen=True, slots=True)
class GoodsMoved:
    """Pieces that left together or came back together, and what they cost."""

    items: Sequence[tuple[str, int]]
    """Sku and pieces."""
    amount_minor: int
    """In minor units of the order's currency."""

    def to_input(self) -> Mapping[str, Json]:
        """The saga's input."""
        return {"items": self.items, "amount_minor": self.amount_minor}

    @classmethod
    def from_input(cls, value: Mapping[str, Json]) -> GoodsMoved:
        """The other way."""
        return cls(
            items=cast("Sequence[tuple[str, int]]", value["items"]),
            amount_minor=cast("int", value["amount_minor"]),
        )
