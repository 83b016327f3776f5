"""Runs a service: from its settings to SIGTERM.

`run` is the whole main program of a service. The service's bootstrap is an
async context manager: entering it builds everything and waits for what it
depends on, leaving it finishes what has begun.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog
import uvloop
from grpc_channelz.v1 import channelz, channelz_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from trackops_common import memory
from trackops_common import settings as settings_module
from trackops_common.errors import BindError, DependencyUnavailable, StartRefused
from trackops_common.grpc import accepting
from trackops_common.grpc.admin import AdminServicer, admin_service
from trackops_common.grpc.admission import Access
from trackops_common.grpc.call_meters import CallMeters
from trackops_common.grpc.credentials import server_credentials
from trackops_common.grpc.endpoints import Context, RpcService, handlers_of
from trackops_common.grpc.known_callers import KnownCallers
from trackops_common.grpc.readiness import DependencyCheck, watch_dependencies
from trackops_common.grpc.streams import OpenStreams
from trackops_common.http_endpoint import Page, serving_pages
from trackops_common.logs import LineWriter, configure_logging
from trackops_common.mesh_identity import KeySource, Verification, verification
from trackops_common.probes import Readiness, pages, show_readiness
from trackops_common.settings import ServiceSettings
from trackops_common.tls import TlsFiles, watched
from trackops_common.traces import tracing
from trackops_common.vitals import Vitals, one

__all__ = ["Application", "run", "wait_for_dependency"]

_log = structlog.get_logger(__name__)

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_BIND_SECONDS = 5.0
_IDENTITY_PAUSE_SECONDS = 0.5
_STREAMS_SECONDS = 3600
"""How long streams go on over a connection that is too old: as long as the edge lets one last."""
_SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
)
"""With gRPC's default, a second server binds the same port silently and calls time out. Without
keep-alive, the stream of a client that vanished stays open for hours."""

S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True, slots=True)
class Application:
    """What a bootstrap hands over: the services to serve, and the tasks that must not end."""

    rpc_services: Sequence[RpcService]
    background: Sequence[asyncio.Task[None]] = ()
    dependencies: Mapping[str, DependencyCheck] = field(default_factory=dict)
    """By name, what must answer for health to say SERVING."""
    vitals: Vitals = field(default_factory=Vitals)
    """What the service shows of itself over HTTP."""
    key_source: KeySource | None = None
    """Where the keys of access tokens come from, instead of the identity service."""
    pages: Mapping[str, Page] = field(default_factory=dict)
    """By path, what else it shows there."""


Bootstrap = Callable[[S], AbstractAsyncContextManager[Application]]


def run(service: str, settings: type[S], bootstrap: Bootstrap[S]) -> None:
    """Serve until SIGTERM or SIGINT; exits non-zero, with one line, when it cannot.

    A signal that comes before the service is built ends the process at once.
    """
    loaded = settings_module.load(settings)
    logs = configure_logging(service, level=loaded.log_level, log_format=loaded.log_format)
    try:
        with tracing(service) as spans_dropped:
            uvloop.run(_serve(service, loaded, bootstrap, _Losses(logs, spans_dropped)))
    except (DependencyUnavailable, StartRefused) as error:
        _log.critical("cannot serve", error=str(error))
        sys.exit(1)
    except Exception:  # noqa: BLE001 - logged in the one form, and the end
        _log.critical("stopped by a defect", exc_info=True)
        sys.exit(1)


async def wait_for_dependency(
    name: str, check: Callable[[], None], *, timeout_seconds: float, pause_seconds: float = 2.0
) -> None:
    """Return once `check` does not raise `DependencyUnavailable` any more.

    Logs a line each few seconds while it waits. `check` runs in a thread.

    Raises:
        DependencyUnavailable: `timeout_seconds` passed.
    """
    give_up = time.monotonic() + timeout_seconds
    while True:
        try:
            return await asyncio.to_thread(check)
        except DependencyUnavailable as error:
            if time.monotonic() >= give_up:
                raise
            _log.warning("waiting for a dependency", dependency=name, error=str(error))
        await asyncio.sleep(pause_seconds)


@dataclass(frozen=True, slots=True)
class _Losses:
    """Who knows what nobody took in time."""

    logs: LineWriter
    spans_dropped: Callable[[], int]


async def _serve(service: str, settings: S, bootstrap: Bootstrap[S], losses: _Losses) -> None:
    async with (
        watched(settings.tls) as watching,
        bootstrap(settings) as built,
        verification(settings, built.key_source) as verifying,
    ):
        await wait_for_dependency(
            "identity",
            verifying.check,
            timeout_seconds=settings.start_timeout_seconds,
            pause_seconds=_IDENTITY_PAUSE_SECONDS,
        )
        await verifying.revocations()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        readiness = Readiness(dependencies=built.dependencies)
        _show(service, settings, built.vitals, readiness, losses)
        admin = admin_service(AdminServicer(service, built.vitals, readiness))
        application = replace(
            built,
            rpc_services=[*built.rpc_services, admin],
            background=[*built.background, *verifying.background, *watching],
        )
        async with _showing(settings, application, readiness):
            await _serve_until(stop, settings, application, verifying, readiness)
    _log.info("stopped")


def _show(
    service: str,
    settings: ServiceSettings,
    vitals: Vitals,
    readiness: Readiness,
    losses: _Losses,
) -> None:
    show_readiness(vitals, readiness, service=service)
    _show_certificate(vitals, settings.tls)
    vitals.counter(
        "trackops_log_lines_lost_total",
        "Log lines that were not written, because nobody took them fast enough.",
        lambda: one(losses.logs.lost),
    )
    vitals.counter(
        "trackops_trace_spans_dropped_total",
        "Spans that did not reach the collector: more than may wait, or it did not take them.",
        lambda: one(losses.spans_dropped()),
    )


async def _serve_until(
    stop: asyncio.Event,
    settings: ServiceSettings,
    application: Application,
    verifying: Verification,
    readiness: Readiness,
) -> None:
    streams = OpenStreams(limit=settings.max_streams)
    server, health_servicer = _build(settings, application, verifying.access, streams)
    await _bind(server, settings)
    await server.start()
    names = [s.descriptor.full_name for s in application.rpc_services]

    async def set_ready(ready: bool) -> None:
        readiness.serving = ready
        for name in ("", *names):
            await health_servicer.set(name, _SERVING if ready else _NOT_SERVING)

    await set_ready(True)
    watching = watch_dependencies(application.dependencies, set_ready, away=readiness.away)
    watch = asyncio.create_task(watching, name="dependencies")
    memory.settle()
    _log.info("serving", address=settings.listen, services=names, tls=settings.tls is not None)
    await _until_stopped(stop, [*application.background, watch])
    watch.cancel()
    readiness.serving, readiness.why = False, "stopping"
    await health_servicer.enter_graceful_shutdown()
    server.wind_down()
    await asyncio.sleep(settings.stop_delay_seconds)
    health_servicer.end_watches()
    streams.end()
    await server.stop(settings.stop_grace_seconds)


def _show_certificate(vitals: Vitals, files: TlsFiles | None) -> None:
    vitals.gauge(
        "trackops_tls_certificate_expiry_timestamp_seconds",
        "When the certificate in use ends, in seconds since 1970; nothing for plain text.",
        lambda: () if files is None else one(files.current.expires.timestamp()),
    )


@asynccontextmanager
async def _showing(
    settings: ServiceSettings, application: Application, readiness: Readiness
) -> AsyncIterator[None]:
    if not settings.http_listen:
        yield
        return
    shown = {**application.pages, **pages(application.vitals, readiness)}
    async with serving_pages(settings.http_listen, shown) as port:
        _log.info("showing probes and metrics", address=settings.http_listen, port=port)
        yield


class _HealthServicer(health.aio.HealthServicer):  # type: ignore[misc]  # it has no types
    """Can end the watches, for whose clients a stop would wait all its grace."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Task[None]] = set()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        watch = asyncio.create_task(super().Watch(request, context))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        await asyncio.gather(watch, return_exceptions=True)

    def end_watches(self) -> None:
        for watch in self._watches:
            watch.cancel()


def _build(
    settings: ServiceSettings, application: Application, access: Access, streams: OpenStreams
) -> tuple[accepting.Server, _HealthServicer]:
    interceptors = [KnownCallers(settings.callers)] if settings.tls else []
    options = [*_SERVER_OPTIONS, *_age_options(settings.max_connection_age_seconds)]
    server = accepting.Server(interceptors=interceptors, options=options)
    registry = application.vitals.registry
    meters = None if registry is None else CallMeters(registry)
    server.add_generic_rpc_handlers(
        tuple(handlers_of(service, access, streams, meters) for service in application.rpc_services)
    )
    health_servicer = _HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    if settings.environment == "development":
        _show_insides(server, application.rpc_services)
    return server, health_servicer


def _age_options(seconds: int) -> Sequence[tuple[str, int]]:
    """A client that is told to leave connects again, to whatever its name leads to by then."""
    if not seconds:
        return []
    return [
        ("grpc.max_connection_age_ms", seconds * 1000),
        ("grpc.max_connection_age_grace_ms", _STREAMS_SECONDS * 1000),
    ]


def _show_insides(server: accepting.Server, services: Sequence[RpcService]) -> None:
    """Reflection and channelz, to whoever asks."""
    names = [service.descriptor.full_name for service in services]
    channelz.add_channelz_servicer(server)
    reflection.enable_server_reflection(
        (*names, health.SERVICE_NAME, _channelz_name(), reflection.SERVICE_NAME), server
    )


def _channelz_name() -> str:
    service: Any = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"]
    return str(service.full_name)


async def _bind(server: accepting.Server, settings: ServiceSettings) -> None:
    """Whether the port is free is asked of the system first: gRPC logs each refusal by itself."""
    address = settings.listen
    give_up = time.monotonic() + _BIND_SECONDS
    while True:
        try:
            _check_free(address)
            if settings.tls is None:
                server.add_insecure_port(address)
            else:
                server.add_secure_port(address, server_credentials(settings.tls))
            return
        except (OSError, RuntimeError) as error:
            if time.monotonic() >= give_up:
                raise BindError(address) from error
        await asyncio.sleep(0.1)


def _check_free(address: str) -> None:
    """Raises OSError where nobody could listen now."""
    host, _, port = address.rpartition(":")
    for family, kind, protocol, _, place in socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM
    ):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            probe.listen()


async def _until_stopped(stop: asyncio.Event, background: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the signal; a background task that ends first takes the service down with it."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait((stopped, *background), return_when=asyncio.FIRST_COMPLETED)
    for task in done - {stopped}:
        task.result()
        raise RuntimeError(f"background task {task.get_name()} ended by itself")
    _log.info("stopping")
