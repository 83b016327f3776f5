"""Find the row for which the broker refuses a whole transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trackops_outbox_relay.domain.checkpoint import OutboxRow
from trackops_outbox_relay.domain.quarantine import Fault, QuarantineReason
from trackops_outbox_relay.domain.standing import Step

__all__ = ["Bisection"]


class Bisection:
    """Smaller and smaller batches until the refused row stands alone; then larger ones again."""

    def __init__(self, batch_rows: int) -> None:
        self._batch_rows = batch_rows
        self._rows = batch_rows
        self._tried: Sequence[OutboxRow] = ()
        self._faults: dict[int, Fault] = {}

    def cut(self, rows: Sequence[OutboxRow]) -> tuple[Sequence[OutboxRow], Sequence[OutboxRow]]:
        """What to try now, and what after it."""
        return rows[: self._rows], rows[self._rows :]

    @property
    def faults(self) -> Mapping[int, Fault]:
        """The rows that stood alone when they were refused, by `seq`."""
        return self._faults

    def trying(self, step: Step) -> None:
        """This step is being published."""
        self._tried = step.rows

    def refused(self, detail: str) -> None:
        """The broker took nothing of it."""
        if len(self._tried) == 1:
            seq = self._tried[0].seq
            self._faults[seq] = Fault(QuarantineReason.REFUSED_BY_BROKER, detail)
        else:
            self._rows = max(1, min(self._rows, len(self._tried)) // 2)

    def committed(self) -> None:
        """All of it was taken."""
        self._faults.clear()
        self._rows = min(self._batch_rows, self._rows * 2)
