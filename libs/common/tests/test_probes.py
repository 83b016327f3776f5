from __future__ import annotations

import threading

from prometheus_client import CollectorRegistry

from trackops_common.errors import TransientError
from trackops_common.http_endpoint import Asked
from trackops_common.probes import STALLED_SECONDS, Readiness, pages, show_readiness
from trackops_common.testing import eventually
from trackops_common.testing_http import numbers
from trackops_common.vitals import Sampled, Vitals, one


async def _page(path: str, vitals: Vitals, readiness: Readiness | None = None) -> tuple[int, str]:
    path, _, query = path.partition("?")
    reply = await pages(vitals, readiness or Readiness())[path](Asked(query))
    return reply.status.value, reply.body.decode()


async def test_a_service_lives_while_its_workers_turn() -> None:
    vitals, busy = Vitals(), [STALLED_SECONDS - 1]
    vitals.workers["the worker"] = lambda: busy[0]
    assert await _page("/healthz/live", vitals) == (200, "live\n")

    busy[0] = STALLED_SECONDS + 1

    status, text = await _page("/healthz/live", vitals)
    assert (status, text) == (503, "the worker has been at the same work for 121 s\n")


async def test_readiness_names_what_is_away_and_lists_all_if_asked() -> None:
    vitals = Vitals()
    vitals.optional["Redis"] = lambda: False
    readiness = Readiness(dependencies=["Postgres", "Kafka"])
    assert await _page("/healthz/ready", vitals, readiness) == (503, "not ready: starting\n")

    readiness.serving = True
    assert await _page("/healthz/ready", vitals, readiness) == (200, "ready\n")

    readiness.serving = False
    readiness.away["Kafka"] = "Kafka is not available"
    assert await _page("/healthz/ready", vitals, readiness) == (503, "not ready: Kafka\n")
    assert await _page("/healthz/ready?verbose", vitals, readiness) == (
        503,
        "not ready: Kafka\nPostgres: there\nKafka: Kafka is not available\n"
        "Redis: away; the service does without\n",
    )


async def test_readiness_is_shown_as_numbers_too() -> None:
    vitals, there = Vitals(CollectorRegistry()), [True]
    vitals.optional["Redis"] = lambda: there[0]
    readiness = Readiness(dependencies=["Postgres", "Kafka"], serving=True)
    show_readiness(vitals, readiness, service="it")

    async def shown() -> list[float]:
        found = numbers((await _page("/metrics", vitals, readiness))[1])
        up = "trackops_dependency_up"
        return [
            found["trackops_service_ready", frozenset({"service=it"})],
            found[up, frozenset({"dependency=Postgres", "needed=true"})],
            found[up, frozenset({"dependency=Kafka", "needed=true"})],
            found[up, frozenset({"dependency=Redis", "needed=false"})],
        ]

    assert await shown() == [1, 1, 1, 1]
    readiness.serving, there[0] = False, False
    readiness.away["Kafka"] = "Kafka is not available"
    assert await shown() == [0, 1, 0, 0]


async def test_numbers_are_read_with_each_scrape() -> None:
    vitals, number = Vitals(CollectorRegistry()), [1.0]
    vitals.gauge("a_level", "It.", lambda: one(number[0]))
    vitals.counter("events_total", "They.", lambda: [(("x",), number[0])], labels=("kind",))
    number[0] = 5

    status, text = await _page("/metrics", vitals)

    assert status == 200
    assert numbers(text) == {
        ("a_level", frozenset()): 5,
        ("events_total", frozenset({"kind=x"})): 5,
    }


async def test_without_a_registry_nothing_is_recorded_and_there_is_no_page() -> None:
    vitals = Vitals()

    assert vitals.histogram("h", "It.", buckets=(1,)) is None
    assert "/metrics" not in pages(vitals, Readiness())


async def test_a_sample_that_failed_is_no_number_rather_than_an_old_one() -> None:
    answers: list[int | Exception] = [7]

    def ask() -> int:
        if isinstance(answers[-1], Exception):
            raise answers[-1]
        return answers[-1]

    sampled, stop = Sampled(ask, every_seconds=0), threading.Event()
    worker = threading.Thread(target=sampled.run, args=(stop,))
    worker.start()
    try:
        await eventually(lambda: sampled.value == 7)
        answers.append(TransientError("away"))
        await eventually(lambda: sampled.value is None)
        answers.append(8)
        await eventually(lambda: sampled.value == 8)
    finally:
        stop.set()
        worker.join()
