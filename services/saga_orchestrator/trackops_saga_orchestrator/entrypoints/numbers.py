"""The orchestrator's numbers, as Prometheus gets them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from trackops_common.circuit_breaker import CircuitState
from trackops_common.vitals import Sampled, Vitals, one
from trackops_saga_orchestrator.application.census import Census, LiveSagas
from trackops_saga_orchestrator.application.engine import Engine

__all__ = ["show_census", "show_engine"]


def show_engine(vitals: Vitals, engine: Engine) -> None:
    """Show what this process does, and which participants it finds there."""
    vitals.gauge(
        "trackops_sagas_in_memory",
        "Sagas of this process that are on their way.",
        lambda: one(engine.in_memory),
    )
    vitals.counter(
        "trackops_sagas_finished_total",
        "Sagas that ended in this process.",
        lambda: [
            ((definition, state.value), number)
            for (definition, state), number in engine.finished.copy().items()
        ],
        labels=("definition", "state"),
    )
    vitals.counter(
        "trackops_saga_operator_calls_total",
        "How often a saga of this process came to need an operator.",
        lambda: one(engine.operator_calls),
    )
    vitals.circuits(
        lambda: {
            health.name: CircuitState.OPEN if health.away_since else CircuitState.CLOSED
            for health in engine.participants
        }
    )
    for health in engine.participants:
        vitals.optional[health.name] = partial(_is_there, engine, health.name)


def show_census(vitals: Vitals, sampled: Sampled[Census]) -> None:
    """Show the unfinished sagas of all replicas; each replica tells the same."""
    vitals.gauge(
        "trackops_sagas",
        "Unfinished sagas of all replicas.",
        lambda: [((live.definition, live.state), live.number) for live in _live(sampled)],
        labels=("definition", "state"),
    )
    vitals.gauge(
        "trackops_saga_oldest_seconds",
        "Since the oldest of them was started.",
        lambda: [((live.definition, live.state), live.oldest_seconds) for live in _live(sampled)],
        labels=("definition", "state"),
    )
    vitals.gauge(
        "trackops_sagas_parked",
        "Sagas of all replicas that wait for a participant that is away.",
        lambda: [((name,), number) for name, number in _parked(sampled)],
        labels=("participant",),
    )


def _is_there(engine: Engine, participant: str) -> bool:
    return all(one.away_since is None for one in engine.participants if one.name == participant)


def _live(sampled: Sampled[Census]) -> Sequence[LiveSagas]:
    return sampled.value.live if sampled.value is not None else ()


def _parked(sampled: Sampled[Census]) -> Iterable[tuple[str, int]]:
    return sampled.value.parked.items() if sampled.value is not None else ()
