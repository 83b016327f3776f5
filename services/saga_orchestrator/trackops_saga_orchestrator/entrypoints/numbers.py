"""The orchestrator's numbers, as Prometheus gets them.

What can be counted is shown as 0 before there is any: a counter that begins
above 0 hides its first step from `rate`, and an alert cannot tell none from
unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from trackops_common.circuit_breaker import CircuitState
from trackops_common.vitals import Reading, Sampled, Vitals, one
from trackops_saga_orchestrator.application.census import Census
from trackops_saga_orchestrator.application.engine import Engine
from trackops_saga_orchestrator.domain.progress import ENDED_STATES, SagaState
from trackops_saga_orchestrator.domain.saga import Saga

__all__ = ["show_census", "show_engine"]

_LIVE_STATES = [state for state in SagaState if state not in ENDED_STATES]

Numbers = Mapping[tuple[str, ...], float]
"""By the values of the labels."""


def show_engine(vitals: Vitals, engine: Engine, definitions: Iterable[Saga]) -> None:
    """Show what this process does, and which participants it finds there."""
    names = {saga.name for saga in definitions}
    ended: Numbers = {(name, state.value): 0 for name in names for state in ENDED_STATES}
    called: Numbers = {(name,): 0 for name in names}

    def finished() -> Reading:
        counts = engine.finished.copy().items()
        so_far: Numbers = {(name, state.value): number for (name, state), number in counts}
        return {**ended, **so_far}.items()

    def operator_calls() -> Reading:
        counts = engine.operator_calls.copy().items()
        so_far: Numbers = {(name,): number for name, number in counts}
        return {**called, **so_far}.items()

    vitals.gauge(
        "trackops_sagas_in_memory",
        "Sagas of this process that are on their way.",
        lambda: one(engine.in_memory),
    )
    vitals.counter(
        "trackops_sagas_finished_total",
        "Sagas that ended in this process.",
        finished,
        labels=("definition", "state"),
    )
    vitals.counter(
        "trackops_saga_operator_calls_total",
        "How often a saga of this process came to need an operator.",
        operator_calls,
        labels=("definition",),
    )
    vitals.circuits(
        lambda: {
            health.name: CircuitState.OPEN if health.away_since else CircuitState.CLOSED
            for health in engine.participants
        }
    )
    for health in engine.participants:
        vitals.optional[health.name] = partial(_is_there, engine, health.name)


def _is_there(engine: Engine, participant: str) -> bool:
    return all(one.away_since is None for one in engine.participants if one.name == participant)


def show_census(vitals: Vitals, sampled: Sampled[Census], definitions: Iterable[Saga]) -> None:
    """Show the unfinished sagas of all replicas; each replica tells the same."""
    sagas = list(definitions)

    def show(
        name: str,
        text: str,
        labels: tuple[str, ...],
        none: Numbers,
        found: Callable[[Census], Numbers],
    ) -> None:
        def read() -> Reading:
            census = sampled.value
            return () if census is None else {**none, **found(census)}.items()

        vitals.gauge(name, text, read, labels=labels)

    no_sagas: Numbers = {(saga.name, state.value): 0.0 for saga in sagas for state in _LIVE_STATES}
    show(
        "trackops_sagas",
        "Unfinished sagas of all replicas.",
        ("definition", "state"),
        no_sagas,
        lambda census: {(it.definition, it.state): it.number for it in census.live},
    )
    show(
        "trackops_saga_oldest_seconds",
        "Since the oldest of them was started; 0 where there is none.",
        ("definition", "state"),
        no_sagas,
        lambda census: {(it.definition, it.state): it.oldest_seconds for it in census.live},
    )
    nobody: Numbers = {
        (saga.name, state.value, step): 0.0
        for saga in sagas
        for state in _LIVE_STATES
        if state is not SagaState.QUEUED  # which stands at no step
        for step in saga.all_steps
    }
    show(
        "trackops_saga_steps",
        "Unfinished sagas of all replicas that stand at a step.",
        ("definition", "state", "step"),
        nobody,
        lambda census: {(it.definition, it.state, it.step): it.number for it in census.steps},
    )
    show(
        "trackops_saga_step_oldest_seconds",
        "Since the oldest of them was started; 0 where there is none.",
        ("definition", "state", "step"),
        nobody,
        lambda census: {
            (it.definition, it.state, it.step): it.oldest_seconds for it in census.steps
        },
    )
    show(
        "trackops_sagas_parked",
        "Sagas of all replicas that wait for a participant that is away.",
        ("participant",),
        {(action.participant,): 0.0 for saga in sagas for action in saga.actions},
        lambda census: {(name,): number for name, number in census.parked.items()},
    )
