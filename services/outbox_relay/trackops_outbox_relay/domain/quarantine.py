"""Rows that cannot be published, and the later rows of their keys, which wait behind them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["Fault", "QuarantineReason", "Quarantined"]


class QuarantineReason(StrEnum):
    """Why a row cannot be published."""

    TOO_LARGE = "TOO_LARGE"
    """Larger than its topic allows a message to be."""
    UNKNOWN_TOPIC = "UNKNOWN_TOPIC"
    REFUSED_BY_BROKER = "REFUSED_BY_BROKER"
    """The broker has a rule or a right against it."""
    NOT_IN_LOG = "NOT_IN_LOG"
    """A rebase found that the log lacks it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one row."""

    reason: QuarantineReason
    detail: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A key of a source: its rows from `first_seq` on wait."""

    key: str
    first_seq: int
    fault: Fault
    time: datetime
    """When it went into quarantine; aware, in UTC."""
