"""What an order carries for people and for the caller; no rule of its lifecycle looks at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Address", "OrderDetails"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where goods or a bill go; what a country's addresses lack is empty."""

    recipient: str
    lines: Sequence[str]
    """Street and house."""
    postal_code: str
    locality: str
    """City or town."""
    administrative_area: str
    """State, province or region."""
    country_code: str
    """ISO 3166-1 alpha-2."""


@dataclass(frozen=True, slots=True)
class OrderDetails:
    """Each part may be missing; an order without any has no details at all."""

    shipping_address: Address | None = None
    billing_address: Address | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The caller's own."""
    note: str = ""
    """From the customer."""
