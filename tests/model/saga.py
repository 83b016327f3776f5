"""One saga, its engines and its participants: what must hold.

    row of the saga <-> two engines -> commands on their way -> participants

What must hold is about participants alone: each step has its effect once, and
when the saga has ended, all of them or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .explorer import Step
from .saga_book import COMPENSATION, PIVOT, START, STEPS, Saga
from .saga_moves import MOVES
from .saga_state import (
    AWAY,
    GONE,
    NOBODY,
    Engine,
    Message,
    Participant,
    SagaFlaws,
    SagaState,
)

__all__ = ["INVARIANTS", "MOVES", "SagaModel"]


def acted_once(state: SagaState) -> bool:
    """A step has its effect once at most, and it is undone once at most."""
    return all(one.applied <= 1 and one.undone <= 1 for one in state.participants)


def all_or_nothing(state: SagaState) -> bool:
    """When the saga has ended: every step has its effect, or none has one that stands."""
    standing = [one.applied - one.undone for one in state.participants]
    if state.saga.state == "COMPLETED":
        return standing == [1] * len(STEPS)
    return state.saga.state != "COMPENSATED" or standing == [0] * len(STEPS)


def in_turn(state: SagaState) -> bool:
    """The pivot has its effect only where those before it have theirs, for good."""
    pivot = state.participants[PIVOT]
    return not pivot.applied or all(one.applied > one.undone for one in state.participants[:PIVOT])


INVARIANTS = (acted_once, all_or_nothing, in_turn)


class SagaModel:
    """One saga, two engines, three participants."""

    def __init__(self, *, faults: int, flaws: SagaFlaws | None = None) -> None:
        self._flaws = flaws or SagaFlaws()
        self.start = SagaState(
            faults=faults,
            saga=START,
            leased=False,
            engines=(GONE, GONE),
            messages=(),
            participants=(Participant(0, 0, False),) * len(STEPS),
            cancelled=False,
        )

    def steps(self, state: SagaState) -> Iterator[Step[SagaState]]:
        for take, (process, fault) in MOVES.items():
            if fault and not state.faults:
                continue
            frm = state._replace(faults=state.faults - 1) if fault else state
            name = take.__name__.replace("_", " ")
            for who in range(2 if process == "engine" else 1):
                by = f"{process} {who}" if process == "engine" else process
                for after in take(self._flaws, frm, who):
                    yield Step(name, by, fault, after)

    def broken(self, state: SagaState) -> str | None:
        return next((one.__name__ for one in INVARIANTS if not one(state)), None)

    def done(self, state: SagaState) -> bool:
        """The saga has ended, and nothing is on its way."""
        away = all(engine.phase == AWAY for engine in state.engines)
        return state.saga.ended and away and not state.messages

    def show(self, state: SagaState) -> Mapping[str, str]:
        return {
            "row": _saga(state.saga),
            "leased": "yes" if state.leased else "no",
            "engines": f"[{', '.join(map(_engine, state.engines))}]",
            "on its way": f"[{', '.join(map(_message, state.messages))}]",
            "participants": f"[{', '.join(map(_participant, state.participants))}]",
            "order": "cancelled" if state.cancelled else "pending",
        }


def _saga(saga: Saga) -> str:
    return f"{saga.state}({', '.join(saga.steps)})"


def _engine(engine: Engine) -> str:
    if engine.phase == AWAY:
        return AWAY
    old = "" if engine.current else ", old epoch"
    return f"{engine.phase}{f' {engine.outcome}' if engine.outcome else ''}{old}"


def _message(message: Message) -> str:
    undo = "undo " if message.command.phase == COMPENSATION else ""
    asker = "" if message.asker == NOBODY else f" for engine {message.asker}"
    return f"{undo}{STEPS[message.command.step]}{asker}"


def _participant(one: Participant) -> str:
    return f"{one.applied}-{one.undone}{' marked' if one.marked else ''}"
