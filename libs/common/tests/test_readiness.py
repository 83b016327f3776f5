from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from trackops_common.errors import DependencyUnavailable
from trackops_common.grpc.readiness import watch_dependencies
from trackops_common.testing import eventually


class Dependency:
    """Answers, fails or hangs as it is told."""

    def __init__(self) -> None:
        self.away = False
        self.checks = 0
        self.answers = threading.Event()
        self.answers.set()

    def check(self) -> None:
        self.checks += 1
        self.answers.wait(10)
        if self.away:
            raise DependencyUnavailable("it")


@asynccontextmanager
async def _watched(**dependencies: Dependency) -> AsyncIterator[list[bool]]:
    told: list[bool] = []

    async def set_ready(ready: bool) -> None:
        told.append(ready)

    checks = {name: one.check for name, one in dependencies.items()}
    watching = watch_dependencies(checks, set_ready, every_seconds=0, answer_seconds=0.05)
    task = asyncio.create_task(watching)
    try:
        yield told
        assert not task.done()
    finally:
        task.cancel()


async def test_health_follows_the_dependencies_and_the_log_names_them() -> None:
    first, second = Dependency(), Dependency()
    with capture_logs() as logs:
        async with _watched(first=first, second=second) as told:
            await eventually(lambda: first.checks and second.checks)
            first.away = True
            await eventually(lambda: told == [False])
            second.away = True
            await eventually(lambda: len(logs) == 2)
            first.away = False
            await eventually(lambda: len(logs) == 3)
            assert told == [False]
            second.away = False
            await eventually(lambda: told == [False, True])

    assert [(line["event"], line["dependency"]) for line in logs] == [
        ("not ready: a dependency is away", "first"),
        ("not ready: a dependency is away", "second"),
        ("dependency is back", "first"),
        ("dependency is back", "second"),
    ]


async def test_a_dependency_that_hangs_is_away_and_is_not_asked_twice() -> None:
    slow = Dependency()
    slow.answers.clear()
    async with _watched(slow=slow) as told:
        await eventually(lambda: told == [False])
        assert slow.checks == 1
        slow.answers.set()
        await eventually(lambda: told == [False, True])
