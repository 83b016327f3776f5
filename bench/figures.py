"""What benchmarks hand back: figures beside their baselines, and curves.

A figure is the median of its rounds. Where it has a baseline, that was measured
in the same round, so that a machine which slows down slows both.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Aim", "Figure", "Plot", "at_least", "at_most", "compared", "percentile"]


@dataclass(frozen=True)
class Aim:
    """A promise about a figure; the bound itself keeps it."""

    bound: float
    is_least: bool
    """Whether the figure may be no less than the bound; else it may be no more."""

    def met_by(self, figure: float) -> bool:
        return figure >= self.bound if self.is_least else figure <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {self.bound:,g}"


def at_least(bound: float) -> Aim:
    return Aim(bound, is_least=True)


def at_most(bound: float) -> Aim:
    return Aim(bound, is_least=False)


@dataclass(frozen=True)
class Figure:
    """Something measured, a value a round."""

    key: str
    what: str
    unit: str
    """Empty for a ratio."""
    values: Sequence[float]
    baseline: str = ""
    """What stood beside it, in words and with its unit."""
    baselines: Sequence[float] = ()
    """What the baseline came to in the same rounds."""
    aim: Aim | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def baseline_median(self) -> float | None:
        return statistics.median(self.baselines) if self.baselines else None

    @property
    def met(self) -> bool | None:
        """None where nothing is promised."""
        return self.aim.met_by(self.median) if self.aim else None

    def to_json(self) -> dict[str, Any]:
        """Everything but `key`, for a document that has figures by their keys."""
        return {
            "what": self.what,
            "unit": self.unit,
            "median": _rounded(self.median),
            "values": [_rounded(value) for value in self.values],
            "baseline": self.baseline,
            "baselines": [_rounded(value) for value in self.baselines],
            "aim": str(self.aim) if self.aim else "",
            "met": self.met,
        }


@dataclass(frozen=True)
class Plot:
    """Curves over the same places of an axis; each point is the median of its rounds."""

    key: str
    title: str
    x: str
    """What the axis is, with its unit."""
    y: str
    places: Sequence[str]
    curves: Mapping[str, Sequence[float]]
    """By name, each with a value for every place."""

    def to_json(self) -> dict[str, Any]:
        """Everything but `key`."""
        return {
            "title": self.title,
            "x": self.x,
            "y": self.y,
            "places": list(self.places),
            "curves": {
                name: [_rounded(value) for value in values] for name, values in self.curves.items()
            },
        }


def compared(
    figure: Figure, ratio_key: str, what: str, *, aim: Aim | None = None
) -> tuple[Figure, Figure]:
    """`figure`, and how it stands to its baseline: the ratio of each round's pair."""
    pairs = zip(figure.values, figure.baselines, strict=True)
    ratios = [value / base for value, base in pairs]
    return figure, Figure(ratio_key, what, "", ratios, figure.baseline, figure.baselines, aim)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that at least `percent` of 100 of them do not exceed.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("nothing was measured")
    in_order = sorted(values)
    place = -(-len(in_order) * percent // 100)
    return in_order[max(int(place), 1) - 1]


def _rounded(value: float) -> float:
    """To four significant digits: the machine repeats no more of them, and rounds say less."""
    return float(f"{value:.4g}")
