"""What an operator asks of a source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["Operation", "OperationKind", "OperationRecord", "OperationState"]


class OperationKind(StrEnum):
    """What is to be done."""

    REPLAY = "replay"
    DISCARD = "discard"
    REBASE = "rebase"


class OperationState(StrEnum):
    """How far it came."""

    PENDING = "PENDING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operator's order, to be carried out by the owner of the source."""

    operation_id: str
    """UUID, the same for each repeat of a request."""
    source: str
    kind: OperationKind
    key: str = ""
    """What to replay or discard."""
    through_seq: int = 0
    """Discard rows up to this one."""
    digest: str = ""
    """The plan to rebase by."""
    reason: str
    principal: str


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """An operation as the audit has it."""

    number: int
    """Grows with the order in which they were asked for."""
    operation: Operation
    state: OperationState
    outcome: str
    """What was done, as JSON, or why it was refused."""
    request_time: datetime
    finish_time: datetime | None
