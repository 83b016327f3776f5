"""An order's details as a JSON document beside its row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from trackops_order.domain.details import Address, OrderDetails

__all__ = ["details_document", "details_of"]


def details_document(details: OrderDetails | None) -> str | None:
    """As text for a `jsonb` column; None is NULL."""
    return None if details is None else json.dumps(asdict(details), ensure_ascii=False)


def details_of(document: Mapping[str, Any] | None) -> OrderDetails | None:
    """The details that were stored as `document`."""
    if document is None:
        return None
    return OrderDetails(
        shipping_address=_address(document["shipping_address"]),
        billing_address=_address(document["billing_address"]),
        metadata=document["metadata"],
        note=document["note"],
    )


def _address(value: Mapping[str, Any] | None) -> Address | None:
    return None if value is None else Address(**{**value, "lines": tuple(value["lines"])})
