"""What customers mean to do, decided beforehand by a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["STOCK", "Line", "Plan", "draw"]

_HOT = [f"HOT-{number}" for number in range(3)]
_COMMON = [f"COMMON-{number}" for number in range(40)]
_SCARCE = [f"SCARCE-{number}" for number in range(4)]

STOCK: Mapping[str, int] = {
    **dict.fromkeys(_HOT, 400_000),
    **dict.fromkeys(_COMMON, 50_000),
    **dict.fromkeys(_SCARCE, 60),
}
"""Pieces on hand in the beginning; the scarce ones run out."""

_TOKENS = {
    "tok_visa": 78,
    "tok_declined": 7,
    "tok_lost": 6,  # held, but the first answer never comes
    "tok_capture_lost": 4,
    "tok_refund_lost": 3,
    "tok_void_lost": 2,
}
_ENDS = {"keep": 50, "cancel": 18, "ship": 14, "ship in parts": 8, "return": 10}


@dataclass(frozen=True, slots=True)
class Line:
    """So much of a sku, at a price in minor units."""

    sku: str
    quantity: int
    unit_price_minor: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One customer's order, and what becomes of it."""

    lines: Sequence[Line]
    payment_method_token: str
    end: str
    """`keep`, `cancel`, `ship`, `ship in parts`, or `return` (ship, deliver, return some)."""
    cancels_at_once: bool
    """Without waiting for what became of the order."""
    sends: int
    """How many times the same request goes out at once."""
    first_timeout_seconds: float
    """Deadline of the first attempt; a short one gives up while the mesh works on it."""
    comes_back: bool
    """Whether it asks again, with the same id, until it knows."""
    sends_other_body: bool
    """Whether it once uses its request's id again for something else."""
    comes_by_rest: bool
    """Through the edge, for all but what the warehouse does."""


def draw(rng: random.Random) -> Plan:
    """The next customer."""
    skus = {rng.choice(_HOT) if rng.random() < 0.5 else rng.choice(_COMMON)}
    if rng.random() < 0.3:
        skus.add(rng.choice(_COMMON))
    if rng.random() < 0.05:
        skus.add(rng.choice(_SCARCE))
    impatient = rng.random() < 0.12
    return Plan(
        lines=[Line(sku, rng.randint(1, 3), rng.randint(1, 9_999)) for sku in sorted(skus)],
        payment_method_token=_weighted(rng, _TOKENS),
        end=_weighted(rng, _ENDS),
        cancels_at_once=rng.random() < 0.5,
        sends=2 if rng.random() < 0.08 else 1,
        first_timeout_seconds=rng.uniform(0.003, 0.04) if impatient else 5.0,
        comes_back=rng.random() < 0.75,
        sends_other_body=rng.random() < 0.03,
        comes_by_rest=rng.random() < 0.2,
    )


def _weighted(rng: random.Random, weights: Mapping[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
