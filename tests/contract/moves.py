"""What the conformance suite has to know of a participant's commands.

A `Move` is one kind of command that a saga sends; a `Pair` is an action with
what undoes it. To put a new one under the suite, describe it in the module of
its service and add it to the lists in `test_moves.py` and `test_pairs.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .participant import Asked, Participant, Rpc

__all__ = ["Command", "Move", "Pair", "times"]


@dataclass(frozen=True)
class Move:
    """One kind of command about an order, which takes effect once on an order that is ready."""

    name: str
    module: str
    """Of the participant's process, say `trackops_order`."""
    rpc: Rpc
    request: Callable[[str, str], Any]
    """The request for an order's id and a request id."""
    ready: Callable[[Participant, int], Sequence[str]]
    """So many new orders on which it can take effect."""
    fact: str
    """Name of the event that leaves with the effect."""
    count: Callable[[Participant, str], int]
    """How often it took effect on an order, by what the participant itself shows of it."""

    def effects(self, participant: Participant, orders: Sequence[str]) -> set[tuple[int, int]]:
        """How often it took effect, by facts and as shown; a set, since all should be alike."""
        facts = participant.facts(self.fact, orders)
        return set(
            zip(facts, [self.count(participant, order_id) for order_id in orders], strict=True)
        )


@dataclass(frozen=True)
class Pair:
    """An action and what a saga sends when the action, sent or not, must not stand."""

    action: Move
    compensation: Move
    refusal: str
    """Reason for which the action is refused after its compensation."""
    hopeless: Callable[[Participant], tuple[str, str]]
    """A new order whose action is refused, and with which reason."""
    undoes: bool = True
    """False where the compensation ends what was not done, and is refused once it was."""

    @property
    def name(self) -> str:
        return f"{self.action.name}/{self.compensation.name}"


@dataclass(frozen=True)
class Command:
    """A move for one order, sent under one request id however often it is sent."""

    move: Move
    order_id: str
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def request(self) -> Any:
        return self.move.request(self.order_id, self.request_id)

    def ask(self, participant: Participant, *, batch: bool = False, replica: int = 0) -> Asked:
        return participant.replicas[replica].ask(self.move.rpc, [self.request], batch=batch)


def times(amount: int, unit: int) -> int:
    """How often `unit` is in `amount`, which it must be without a rest."""
    whole, rest = divmod(amount, unit)
    assert not rest, f"{amount} is no multiple of {unit}"
    return whole
