"""Money that was taken from what a payment holds, or given back of what was taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from trackops_payment.domain.errors import MovementDeclined, MovementOnOtherTerms

__all__ = ["Movement", "MovementKey", "MovementKind", "MovementState"]


class MovementKind(StrEnum):
    """Which way the money goes."""

    CAPTURE = "CAPTURE"
    REFUND = "REFUND"


class MovementState(StrEnum):
    """How far it got. SENT waits for an answer of the provider; the others are final."""

    SENT = "SENT"
    DONE = "DONE"
    DECLINED = "DECLINED"


@dataclass(frozen=True, slots=True)
class MovementKey:
    """What tells one movement from all others."""

    order_id: UUID
    kind: MovementKind
    movement_id: UUID
    """The `request_id` that asked for it."""


@dataclass(slots=True)
class Movement:
    """One movement. `Payment` begins and ends it, because its sums change with it."""

    key: MovementKey
    state: MovementState
    amount_minor: int
    provider_id: str | None
    decline_code: str | None
    create_time: datetime
    update_time: datetime

    def permit(self, amount_minor: int) -> None:
        """Check that it may stand for a request of `amount_minor`.

        Raises:
            MovementOnOtherTerms: it is of another amount.
            MovementDeclined: the provider refused it.
        """
        order_id, movement_id = self.key.order_id, self.key.movement_id
        if self.amount_minor != amount_minor:
            raise MovementOnOtherTerms(order_id, movement_id=movement_id)
        if self.state is MovementState.DECLINED:
            code = self.decline_code or ""
            raise MovementDeclined(order_id, movement_id=movement_id, decline_code=code)
