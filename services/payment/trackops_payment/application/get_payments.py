"""Show payments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from trackops_payment.application.ports import EncodePaymentHistory, PaymentReader
from trackops_payment.domain.errors import PaymentNotFound

__all__ = ["GetPayments"]


@dataclass(frozen=True)
class GetPayments:
    """Reads the payments of many orders, and their movements, with one query."""

    reader: PaymentReader
    encode: EncodePaymentHistory

    def __call__(self, order_ids: Sequence[UUID]) -> Sequence[bytes | PaymentNotFound]:
        found = self.reader.get(order_ids)
        return [
            self.encode(*found[order_id]) if order_id in found else PaymentNotFound(order_id)
            for order_id in order_ids
        ]
