"""What the model of a saga is made of: its row, engines, commands on their way, participants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .saga_book import Command, Saga

__all__ = [
    "ASKING",
    "AWAY",
    "GONE",
    "NOBODY",
    "SENT_EARLY",
    "TOLD",
    "TO_SEND",
    "Engine",
    "Message",
    "Participant",
    "SagaFlaws",
    "SagaState",
]

AWAY, TO_SEND, ASKING, TOLD, SENT_EARLY = "away", "to send", "asking", "told", "sent early"
"""Without the saga; with it stored and its command not sent; waiting; with an outcome; with its
next command sent, and not stored (a flaw)."""

NOBODY = -1


class Engine(NamedTuple):
    """An engine, and the saga as it has it in memory."""

    phase: str
    current: bool
    """Whether its epoch is the row's."""
    saga: Saga
    outcome: str


class Message(NamedTuple):
    """A command on its way; `asker` is the engine that waits for its answer, if one does."""

    command: Command
    asker: int


class Participant(NamedTuple):
    """What one step's participant has done."""

    applied: int
    undone: int
    marked: bool
    """A compensation came and found nothing to undo."""


class SagaState(NamedTuple):
    """All of it."""

    faults: int
    saga: Saga
    """The row."""
    leased: bool
    engines: tuple[Engine, ...]
    messages: tuple[Message, ...]
    participants: tuple[Participant, ...]
    cancelled: bool
    """The customer has cancelled the order, which refuses the pivot for ever."""


@dataclass(frozen=True, slots=True)
class SagaFlaws:
    """Ways to build it wrong; all off is how it is built."""

    no_idempotency: bool = False
    """A participant does not look a command's `request_id` up."""
    no_mark: bool = False
    """A compensation that finds nothing leaves nothing."""
    no_epoch_check: bool = False
    """Whoever has a saga in memory may write it."""
    compensates_only_what_succeeded: bool = False
    """A step whose last answer was a refusal is not compensated."""
    sent_before_stored: bool = False
    """A command leaves before the row says so."""


GONE = Engine(AWAY, False, Saga("", ()), "")
"""An engine without the saga."""
