"""Random sagas about few subjects, random silences and absences: turns are kept, all end."""

from __future__ import annotations

import asyncio
import random
import uuid

from hypothesis import given, settings
from hypothesis import strategies as st

from trackops_saga_orchestrator.application.engine import Engine
from trackops_saga_orchestrator.application.start_sagas import StartSaga
from trackops_saga_orchestrator.domain.commands import StepCommand
from trackops_saga_orchestrator.domain.definitions import DEFINITIONS
from trackops_saga_orchestrator.domain.goods_moved import GoodsMoved
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import ENDED_STATES, Outcome, Refused, Unknown
from trackops_saga_orchestrator.domain.saga import Saga

from .engine_mesh import Mesh

SUBJECTS = ("a", "b")
LATER = [saga for saga in DEFINITIONS if saga is not PLACE_ORDER]
STARTS = st.lists(
    st.tuples(st.sampled_from(LATER), st.sampled_from(SUBJECTS), st.sampled_from("12345")),
    max_size=8,
)
AWAY = st.dictionaries(
    st.sampled_from(["inventory", "payment", "order"]),
    st.tuples(st.integers(0, 200), st.integers(1, 300)),
)


class Run:
    def __init__(self, seed: int, away: dict[str, tuple[int, int]]) -> None:
        self.mesh = Mesh(*DEFINITIONS)
        self.random = random.Random(seed)
        self.away = away
        self.seconds = 0
        self.mesh.participants.answer = self.answer

    def answer(self, command: StepCommand) -> Outcome | None:
        begin, length = self.away.get(command.action.participant, (0, 0))
        if begin <= self.seconds < begin + length:
            return Unknown("nobody", away=True)
        dice = self.random.random()
        if dice < 0.1:
            return Unknown("the answer got lost")
        if dice < 0.15:
            self.mesh.participants.perform(command)
            return Unknown("the answer got lost after the effect")
        refusable = command.action.command in ("reserve", "authorize")
        return Refused("NO", "no") if dice > 0.9 and refusable else None

    async def go(self, starts: list[StartSaga]) -> None:
        """Two engines, of which one stops halfway, until every saga has ended."""
        async with self.mesh.running() as heir:
            async with self.mesh.running() as first:
                await first.admit(self.mesh.start_all(starts))
                await self._pass(first, 40)
            for _ in range(200):
                if self.mesh.states() <= set(ENDED_STATES):
                    return
                await self._pass(heir, 5)
        raise AssertionError(f"still {self.mesh.states()}")

    async def _pass(self, engine: Engine, looks: int) -> None:
        for _ in range(looks):
            self.seconds += 5
            self.mesh.clock.advance(5)
            await engine.tick()
            for _ in range(30):
                await asyncio.sleep(0)

    def commands(self, subject: str) -> list[uuid.UUID]:
        return [
            command.saga_id
            for call in self.mesh.participants.calls
            for command in call
            if command.subject == subject
        ]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1_000_000), later=STARTS, away=AWAY)
def test_turns_are_kept_and_every_saga_ends(
    seed: int,
    later: list[tuple[Saga, str, str]],
    away: dict[str, tuple[int, int]],
) -> None:
    run = Run(seed, away)
    goods = GoodsMoved([("TEA-1", 1)], 100).to_input()
    starts = [StartSaga(PLACE_ORDER, subject, goods) for subject in SUBJECTS]
    starts += [StartSaga(saga, subject, goods, one) for saga, subject, one in later]
    asyncio.run(run.go(starts))
    assert set(run.mesh.participants.effects.values()) <= {0, 1}
    for subject in SUBJECTS:
        wanted = dict.fromkeys(one.saga_id for one in starts if one.subject == subject)
        order = run.commands(subject)
        blocks = [saga_id for at, saga_id in enumerate(order) if not at or order[at - 1] != saga_id]
        assert blocks == list(wanted)
