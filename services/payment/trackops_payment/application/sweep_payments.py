"""Ask the provider again about what nobody repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from trackops_common.clock import Clock
from trackops_payment.application.ports import UnansweredPayments
from trackops_payment.domain.movement import Movement
from trackops_payment.domain.payment import Payment

__all__ = ["SweepPayments"]


@dataclass(frozen=True)
class SweepPayments:
    """Settles what was sent to the provider longer than `after_seconds` ago and has no answer.

    That is what a process left that died between the provider's answer and its
    record, or what a caller gave up on. Many may sweep at once: they ask under
    the same keys, and the first one records.
    """

    unanswered: UnansweredPayments
    authorize_again: Callable[[Sequence[Payment]], None]
    void_again: Callable[[Sequence[Payment]], None]
    move_again: Callable[[Sequence[tuple[Payment, Movement]]], None]
    clock: Clock
    after_seconds: float
    limit: int = 100
    """Of each kind, at most, in one go."""

    def __call__(self) -> int:
        """How many were asked about.

        Raises:
            TransientError: the database is away.
        """
        before = self.clock.now() - timedelta(seconds=self.after_seconds)
        found = self.unanswered.find(before=before, limit=self.limit)
        if found.authorizations:
            self.authorize_again(found.authorizations)
        if found.voids:
            self.void_again(found.voids)
        if found.movements:
            self.move_again(found.movements)
        return len(found.authorizations) + len(found.voids) + len(found.movements)
