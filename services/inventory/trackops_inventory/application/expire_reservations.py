"""Free what was held for a time that is over."""

from __future__ import annotations

from dataclasses import dataclass

from trackops_inventory.application.ports import UnitOfWorkFactory
from trackops_inventory.domain.stock import StockLedger

__all__ = ["ExpireReservations"]


@dataclass(frozen=True)
class ExpireReservations:
    """Releases reservations whose time is over, a batch a transaction.

    Any number of replicas may do it at once: each takes what no other has. A
    reservation that somebody is changing is left to the next time.
    """

    unit_of_work: UnitOfWorkFactory
    max_batch: int = 500

    def __call__(self) -> int:
        """How many were released; as many as `max_batch` means that there may be more."""
        with self.unit_of_work() as work:
            over = work.reservations.lock_over(limit=self.max_batch)
            if not over:
                return 0
            held = [item.sku for reservation in over for item in reservation.held_items]
            stock = StockLedger(work.stock.lock(set(held)))
            now = work.now()
            events = [fact for reservation in over if (fact := reservation.expire(now))]
            for fact in events:
                stock.free(fact.items)
            work.reservations.save(over)
            work.stock.save(stock.changed)
            work.commit(events)
        return len(events)
