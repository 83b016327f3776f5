"""What the relay refuses.

RelayError
├── SourceNotFound        no source has this name
├── OperationRefused      what an operator asks for cannot be done; `problem` says why
└── SourceRefused         the source stands still until an operator decides
    ├── CheckpointLost    it was relayed before, but Kafka holds no checkpoint of it
    ├── QuarantineLost    its checkpoint counts more quarantined keys than Kafka holds
    ├── TopicReplaced     its checkpoint stands in another topic than it was left in
    └── OutboxDiverged    its outbox does not hold the event that was published last
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "CheckpointLost",
    "OperationProblem",
    "OperationRefused",
    "OutboxDiverged",
    "QuarantineLost",
    "RelayError",
    "SourceNotFound",
    "SourceRefused",
    "TopicReplaced",
]


class RelayError(Exception):
    """Base of everything that this domain refuses."""


class SourceNotFound(RelayError):
    """No source has this name."""

    def __init__(self, source: str) -> None:
        super().__init__(f"the relay has no source {source!r}")
        self.source = source


class OperationProblem(StrEnum):
    """Why an operation is refused."""

    KEY_NOT_QUARANTINED = "KEY_NOT_QUARANTINED"
    ROW_NOT_QUARANTINED = "ROW_NOT_QUARANTINED"
    STILL_UNPUBLISHABLE = "STILL_UNPUBLISHABLE"
    SOURCE_STANDS_STILL = "SOURCE_STANDS_STILL"
    SOURCE_NOT_REFUSED = "SOURCE_NOT_REFUSED"
    REBASE_PLAN_CHANGED = "REBASE_PLAN_CHANGED"


class OperationRefused(RelayError):
    """What an operator asks for cannot be done as things are; nothing was changed."""

    def __init__(self, source: str, problem: OperationProblem, message: str) -> None:
        super().__init__(message)
        self.source = source
        self.problem = problem


class SourceRefused(RelayError):
    """To publish from this source could lose events or double them."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(
            f"source {source}: {problem}; nothing more is published from it until"
            f" `trackops outbox rebase {source}` has compared the outbox with the log"
        )
        self.source = source


class CheckpointLost(SourceRefused):
    """The source was relayed before, but Kafka holds no checkpoint of it."""

    def __init__(self, source: str) -> None:
        super().__init__(source, "it was relayed before, but the checkpoint topic has no record")


class QuarantineLost(SourceRefused):
    """The checkpoint counts more quarantined keys than there are records of."""

    def __init__(self, source: str, *, expected: int, found: int) -> None:
        super().__init__(
            source,
            f"{expected} of its keys are in quarantine, but the checkpoint topic holds only"
            f" {found} of their records",
        )


class TopicReplaced(SourceRefused):
    """The checkpoint topic is not the one in which the source's first checkpoint was left."""

    def __init__(self, source: str, *, expected_id: str, found_id: str) -> None:
        super().__init__(
            source, f"the checkpoint topic was made again (id {found_id}, not {expected_id})"
        )


class OutboxDiverged(SourceRefused):
    """The outbox does not hold, at the checkpoint, the event that was published.

    The database was restored from a backup or failed over to an older state.
    """

    def __init__(self, source: str, *, seq: int, expected_id: str, found_id: str | None) -> None:
        found = f"event {found_id}" if found_id else "no row"
        super().__init__(
            source,
            f"event {expected_id} was published from seq {seq}, where the outbox now has {found}:"
            " the database went back to an older state",
        )
        self.seq = seq
