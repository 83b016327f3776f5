"""The three pages that every service has: does it live, is it ready, its numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from trackops_common.http_endpoint import Asked, Page, Reply
from trackops_common.vitals import Reading, Vitals

__all__ = ["STALLED_SECONDS", "Readiness", "pages", "show_readiness"]

STALLED_SECONDS = 120.0
"""A worker that has been at one piece of work for so long will not come back: every statement and
every call ends in far less, unless the other side vanished without a word."""


@dataclass
class Readiness:
    """What health says, and why."""

    serving: bool = False
    why: str = "starting"
    """Of not serving, where no dependency is away."""
    dependencies: Iterable[str] = ()
    """Those that the service cannot do without."""
    away: dict[str, str] = field(default_factory=dict)
    """Of these, the ones that do not answer, with what went wrong."""


def show_readiness(vitals: Vitals, readiness: Readiness, *, service: str) -> None:
    """Show what the pages say as numbers too: whether `service` is ready, and who is there."""

    def dependencies() -> Reading:
        away = readiness.away.copy()
        needed = [((name, "true"), float(name not in away)) for name in readiness.dependencies]
        optional = vitals.optional.items()
        return [*needed, *(((name, "false"), float(there())) for name, there in optional)]

    vitals.gauge(
        "trackops_service_ready",
        "1 while gRPC health says SERVING.",
        lambda: [((service,), float(readiness.serving))],
        labels=("service",),
    )
    vitals.gauge(
        "trackops_dependency_up",
        "1 while a dependency answers; one that is not needed is done without.",
        dependencies,
        labels=("dependency", "needed"),
    )


def pages(vitals: Vitals, readiness: Readiness) -> Mapping[str, Page]:
    """The pages by path.

    `/healthz/live` is 200 while every worker turns, `/healthz/ready` is 200 while
    gRPC health is SERVING, each else 503 with the names of those at fault;
    `?verbose` on the latter lists every dependency. `/metrics` is in Prometheus'
    text format, or in that of OpenMetrics where the caller takes it: only this one has exemplars.
    """

    async def live(_: Asked) -> Reply:
        return _liveness(vitals)

    async def ready(asked: Asked) -> Reply:
        return _readiness(vitals, readiness, verbose="verbose" in asked.query.split("&"))

    return {"/healthz/live": live, "/healthz/ready": ready, **_metrics(vitals.registry)}


def _liveness(vitals: Vitals) -> Reply:
    stalled = [
        f"{name} has been at the same work for {seconds:.0f} s\n"
        for name, busy in vitals.workers.items()
        if (seconds := busy()) > STALLED_SECONDS
    ]
    if stalled:
        return Reply(HTTPStatus.SERVICE_UNAVAILABLE, "".join(stalled).encode())
    return Reply(HTTPStatus.OK, b"live\n")


def _readiness(vitals: Vitals, readiness: Readiness, *, verbose: bool) -> Reply:
    lines = [_verdict(readiness)]
    if verbose:
        away = readiness.away
        lines += [f"{one}: {away.get(one, 'there')}" for one in readiness.dependencies]
        lines += [
            f"{one}: {'there' if there() else 'away; the service does without'}"
            for one, there in vitals.optional.items()
        ]
    status = HTTPStatus.OK if readiness.serving else HTTPStatus.SERVICE_UNAVAILABLE
    return Reply(status, "".join(f"{line}\n" for line in lines).encode())


def _verdict(readiness: Readiness) -> str:
    if readiness.serving:
        return "ready"
    return f"not ready: {', '.join(sorted(readiness.away)) or readiness.why}"


def _metrics(registry: CollectorRegistry | None) -> Mapping[str, Page]:
    if registry is None:
        return {}
    one_at_a_time = asyncio.Lock()

    async def metrics(asked: Asked) -> Reply:
        encode, content_type = choose_encoder(asked.accept)
        async with one_at_a_time:
            text = await asyncio.to_thread(encode, registry)
        return Reply(HTTPStatus.OK, text, content_type)

    return {"/metrics": metrics}
