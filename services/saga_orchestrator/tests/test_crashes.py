"""Two orchestrators as processes, one of them killed in the middle of its work."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trackops_cli.local.ports import Ports
from trackops_common.testing import ServiceProcess, eventually

from .participant_server import Participant, serving
from .service_world import World, new_ids

SAGAS = 2000
KILL_AFTER = 600
LEASE_SECONDS = 3
ALLOWANCE_SECONDS = 2
STEPS = ("ReserveStockRequest", "AuthorizePaymentRequest", "ConfirmOrderRequest")

LATE = """
SELECT coalesce(max(extract(epoch FROM now() - wake_at)), 0)
  FROM sagas WHERE state IN ('RUNNING', 'COMPENSATING')
"""
"""How long ago the oldest lease ended that nobody has taken up, by Postgres's clock."""


class CountingParticipant(Participant):
    """Counts effects, each once for a request id, and can hold its answers back."""

    def __init__(self) -> None:
        super().__init__()
        self.effects: Counter[tuple[str, str]] = Counter()
        self.request_ids: set[str] = set()
        self.calls = 0
        self.hold_after = KILL_AFTER
        self.held = asyncio.Event()
        self.release = asyncio.Event()

    async def answer(self, request: Any, context: Any, response: Any, result: Any) -> Any:
        for one in request.requests:
            self.calls += 1
            if one.request_id not in self.request_ids:
                self.request_ids.add(one.request_id)
                self.effects[(type(one).__name__, one.order_id)] += 1
        if sum(name == STEPS[-1] for name, _ in self.effects) >= self.hold_after:
            self.held.set()
            await self.release.wait()
        return await super().answer(request, context, response, result)


class Orchestrators:
    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._folder = folder
        self.all: list[ServiceProcess] = []

    def start(self, participants: str) -> ServiceProcess:
        """One more; its log says when it serves."""
        settings = self._world.settings
        environment = {
            "TRACKOPS_LISTEN": f"127.0.0.1:{Ports.free().saga_orchestrator}",
            "TRACKOPS_DATABASE_URL": settings.database_url.get_secret_value(),
            "TRACKOPS_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "TRACKOPS_ORDER_EVENTS_TOPIC": settings.order_events_topic,
            "TRACKOPS_DEAD_LETTERS_TOPIC": settings.dead_letters_topic,
            "TRACKOPS_RETRIES_TOPIC": settings.retries_topic,
            "TRACKOPS_ORDER_EVENTS_CONSUMER": settings.order_events_consumer,
            "TRACKOPS_INVENTORY_TARGET": participants,
            "TRACKOPS_PAYMENT_TARGET": participants,
            "TRACKOPS_ORDER_TARGET": participants,
            "TRACKOPS_LEASE_SECONDS": str(LEASE_SECONDS),
        }
        log = self._folder / f"orchestrator-{len(self.all)}.log"
        self.all.append(ServiceProcess("trackops_saga_orchestrator", environment, log))
        return self.all[-1]


@pytest.fixture
def orchestrators(world: World, tmp_path: Path) -> Iterator[Orchestrators]:
    made = Orchestrators(world, tmp_path)
    yield made
    for process in made.all:
        process.kill()


async def test_killed_orchestrators_sagas_are_taken_over_and_nothing_happens_twice(
    world: World, orchestrators: Orchestrators, kafka: Any
) -> None:
    world.settings = world.settings.model_copy(
        update={"order_events_topic": kafka.topic(partitions=2)}
    )
    orders = new_ids(SAGAS)
    participant = CountingParticipant()
    async with serving(participant) as target:
        victim = orchestrators.start(target)
        await asyncio.to_thread(world.place, orders[0])
        await asyncio.to_thread(victim.wait_logged, "serving")
        await eventually(lambda: world.states() == ["COMPLETED"], seconds=30)
        heir = orchestrators.start(target)
        await asyncio.to_thread(heir.wait_logged, "serving")
        await asyncio.to_thread(world.place, *orders[1:])
        await asyncio.wait_for(participant.held.wait(), 60)
        victim.kill()
        participant.hold_after = SAGAS + 1
        participant.release.set()
        lateness: list[float] = []

        def all_ended() -> bool:
            lateness.append(float(world.database.fetch(LATE)[0][0]))
            return set(world.states()) == {"COMPLETED"} and len(world.states()) == SAGAS

        await eventually(all_ended, seconds=90, what="every saga to end")
    taken = world.database.fetch("SELECT count(*) FROM sagas WHERE epoch > 1")[0][0]
    print(  # noqa: T201 - for whoever runs it with -s
        f"\n{SAGAS} sagas, one of two orchestrators killed: {taken} taken over, the last"
        f" {max(lateness):.2f} s after its lease of {LEASE_SECONDS} s had ended;"
        f" {participant.calls} commands for {sum(participant.effects.values())} effects"
    )
    assert set(participant.effects.values()) == {1}
    assert set(participant.effects) == {(step, order) for step in STEPS for order in orders}
    assert taken > 0
    assert max(lateness) < ALLOWANCE_SECONDS
