"""Which fault comes when, from a seed alone: the same seed is the same schedule."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .world import REPLICAS

__all__ = ["GAP_SECONDS", "KINDS", "Planned", "schedule"]

_PAUSES = (2.0, 4.0, 8.0, 13.0)
_LONG = (8.0, 13.0)
"""Within and beyond a consumer's session (6 s) and a saga's lease (10 s)."""
_FIRST_SECONDS = 3.0
GAP_SECONDS = (1.0, 4.0)


_Choice = Callable[[random.Random], str]
_Length = Callable[[random.Random], float]


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault."""

    at: float
    """Seconds after the load began, or once the fault before has healed if that is later."""
    kind: str
    target: str
    """A replica (`order/1`), a service, a server or a way to one."""
    seconds: float
    """How long it lasts."""

    def __str__(self) -> str:
        return f"{self.at:6.1f} s  {self.kind} {self.target}, {self.seconds:.1f} s"


def _replica(rng: random.Random) -> str:
    name = rng.choice(["order", "saga_orchestrator", "outbox_relay"] * 2 + list(REPLICAS))
    return f"{name}/{rng.randint(1, REPLICAS[name])}"


def _one_of_two(service: str) -> _Choice:
    return lambda rng: f"{service}/{rng.randint(1, 2)}"


def _way(rng: random.Random) -> str:
    return rng.choice(["postgres", "kafka", "redis"])


def _clocked(rng: random.Random) -> str:
    return rng.choice(["order/1", "saga_orchestrator/1", "payment/1", "inventory/1"])


def _between(low: float, high: float) -> _Length:
    return lambda rng: round(rng.uniform(low, high), 1)


KINDS: Mapping[str, tuple[_Choice, _Length]] = {
    "kill -9": (_replica, _between(0, 3)),
    "SIGSTOP": (_replica, lambda rng: rng.choice(_PAUSES)),
    "kill -9 relay": (_one_of_two("outbox_relay"), _between(0, 1)),
    "kill -9 edge": (lambda _: "edge/1", _between(0, 1)),
    "SIGSTOP orchestrator": (_one_of_two("saga_orchestrator"), lambda rng: rng.choice(_LONG)),
    "immediate stop": (lambda _: "postgres", _between(0, 2)),
    "kill -9 server": (lambda rng: rng.choice(["postgres", "kafka", "redis"]), _between(0, 2)),
    "flush": (lambda _: "redis", lambda _: 0.0),
    "slow": (_way, _between(2, 5)),
    "cut half-way": (_way, lambda _: 0.5),
    "refused": (_way, _between(1, 4)),
    "rolling restart": (lambda rng: rng.choice(list(REPLICAS)), lambda _: 0.0),
    "lost answers": (lambda _: "provider", _between(1, 4)),
    "clock ahead": (_clocked, _between(4, 8)),
    "new certificates": (lambda _: "all", lambda _: 0.0),
}
"""Each kind of fault: what it hits and for how long."""


def schedule(
    seed: int,
    seconds: float,
    kinds: Sequence[str] = tuple(KINDS),
    gap_seconds: tuple[float, float] = GAP_SECONDS,
) -> list[Planned]:
    """Faults for a load of so many seconds: all kinds in turn, shuffled anew each time round.

    From the end of one to the begin of the next it is as long as `gap_seconds` say, from and to.
    """
    rng = random.Random(f"faults {seed}")
    planned: list[Planned] = []
    at = _FIRST_SECONDS
    deck: list[str] = []
    while True:
        deck = deck or rng.sample(kinds, len(kinds))
        kind = deck.pop()
        choose, length = KINDS[kind]
        fault = Planned(round(at, 1), kind, choose(rng), length(rng))
        if at + fault.seconds > seconds:
            return planned
        planned.append(fault)
        at += fault.seconds + rng.uniform(*gap_seconds)
