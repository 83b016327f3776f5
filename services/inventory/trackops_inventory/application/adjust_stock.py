"""Put pieces on the shelf, or take them off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from trackops_common.errors import RequestIdReused
from trackops_common.idempotency import RequestLedger, fingerprint, request_key
from trackops_common.tracing import current_traceparent
from trackops_inventory.application.ports import EncodeStockLevel, UnitOfWorkFactory
from trackops_inventory.domain.errors import InventoryError
from trackops_inventory.domain.events import StockAdjusted
from trackops_inventory.domain.stock import StockLedger

__all__ = ["AdjustStock", "AdjustStockLevels", "AdjustStockOutcome"]


@dataclass(frozen=True)
class AdjustStock:
    """Add pieces to one sku; a negative `delta` takes away."""

    principal: str
    request_id: str
    sku: str
    delta: int
    traceparent: str = field(default_factory=current_traceparent, kw_only=True, compare=False)
    """Of what asks for it; no part of what is asked."""

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method="AdjustStock")

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint([self.sku, self.delta])


AdjustStockOutcome = bytes | InventoryError | RequestIdReused


@dataclass(frozen=True)
class AdjustStockLevels:
    """Adjusts many skus in one transaction; each command succeeds or fails alone.

    The sku's row is the guard, and a first adjustment of a sku makes the row
    before it decides: two of them at once are one after the other, and a
    refused one takes the row back.
    """

    unit_of_work: UnitOfWorkFactory
    encode: EncodeStockLevel

    def __call__(self, commands: Sequence[AdjustStock]) -> Sequence[AdjustStockOutcome]:
        skus = {command.sku for command in commands}
        with self.unit_of_work() as work:
            stock = StockLedger(work.stock.claim(skus))
            now = work.now()
            ledger = RequestLedger(work.requests.find(c.request_key for c in commands))
            events: list[StockAdjusted] = []
            traces: list[str] = []

            def adjust(command: AdjustStock) -> bytes:
                level = stock.adjust(command.sku, command.delta)
                events.append(
                    StockAdjusted(level.sku, level.version, now, command.delta, level.on_hand)
                )
                traces.append(command.traceparent)
                return self.encode(level)

            outcomes = [ledger.answer(command, adjust, InventoryError) for command in commands]
            work.stock.save(stock.changed)
            work.stock.withdraw(skus - {level.sku for level in stock.changed})
            work.requests.save(ledger.new)
            work.commit(events, traces)
        return outcomes
