"""Fakes for what every service shares, each passing the suite of the real thing."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
from google.rpc import error_details_pb2, status_pb2

from trackops_common.errors import BatchRefused
from trackops_common.grpc import accepting
from trackops_common.grpc.admission import Access
from trackops_common.grpc.call_meters import CallMeters
from trackops_common.grpc.endpoints import handlers_of
from trackops_common.grpc.server import Application
from trackops_common.grpc.streams import OpenStreams
from trackops_common.idempotency import StoredRequest
from trackops_common.testing_tokens import (
    access_for_tests,
    access_token,
    aio_bearer,
    identity_for_tests,
)
from trackops_common.traces import client_interceptors

__all__ = [
    "ErrorDetails",
    "InMemoryRequestStore",
    "ManualClock",
    "ServiceProcess",
    "TcpLink",
    "error_details",
    "eventually",
    "serving",
]


class ManualClock:
    """A `Clock` that moves when it is told to."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, **duration: float) -> None:
        """Move on by a duration, given as `timedelta` takes it."""
        self._now += timedelta(**duration)


class InMemoryRequestStore:
    """A `RequestStore`; `rows` outlives the unit of work that changes it."""

    def __init__(self, rows: dict[UUID, StoredRequest]) -> None:
        self._rows = rows

    def find(self, keys: Iterable[UUID]) -> Sequence[StoredRequest]:
        return [self._rows[key] for key in keys if key in self._rows]

    def save(self, requests: Sequence[StoredRequest]) -> None:
        for request in requests:
            if request.request_key in self._rows:
                raise BatchRefused(f"request {request.request_key} is stored already")
            self._rows[request.request_key] = request


@asynccontextmanager
async def serving(
    application: Application,
    streams: OpenStreams | None = None,
    *,
    access: Access | None = None,
    token: str | None = None,
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to `application`, which is served on a free loopback port.

    Admits as `access_for_tests` unless given an `access`. Calls carry `token`, an
    administrator's unless given; none if it is empty. They carry the current trace.
    """
    server = accepting.Server()
    registry = application.vitals.registry
    meters = None if registry is None else CallMeters(registry)
    server.add_generic_rpc_handlers(
        tuple(
            handlers_of(service, access or access_for_tests(), streams, meters)
            for service in application.rpc_services
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sent = access_token() if token is None else token
    try:
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}",
            options=[("grpc.enable_http_proxy", 0)],
            interceptors=[*client_interceptors(), *(aio_bearer(sent) if sent else ())],
        ) as channel:
            yield channel
    finally:
        await server.stop(grace=None)


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """A `google.rpc.Status` with its details unpacked."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: Mapping[str, str]
    violations: Mapping[str, str]
    """Description of each wrong field, by its path."""
    retry_after_seconds: float | None

    @classmethod
    def of_status(cls, status: status_pb2.Status) -> ErrorDetails:
        """Raises AssertionError unless there is exactly one `ErrorInfo`, of our domain."""
        code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
        infos, requests, retries = (
            [_unpacked(detail, kind) for detail in status.details if detail.Is(kind.DESCRIPTOR)]
            for kind in (
                error_details_pb2.ErrorInfo,
                error_details_pb2.BadRequest,
                error_details_pb2.RetryInfo,
            )
        )
        assert [info.domain for info in infos] == ["trackops"]
        return cls(
            code,
            status.message,
            infos[0].reason,
            dict(infos[0].metadata),
            {v.field: v.description for request in requests for v in request.field_violations},
            retries[0].retry_delay.ToTimedelta().total_seconds() if retries else None,
        )


def error_details(error: grpc.RpcError) -> ErrorDetails:
    """What a failed call's status says; works for `grpc` and `grpc.aio`."""
    call: Any = error
    status = status_pb2.Status.FromString(dict(call.trailing_metadata())["grpc-status-details-bin"])
    assert status.code == call.code().value[0]
    return ErrorDetails.of_status(status)


def _unpacked(detail: Any, kind: type[Any]) -> Any:
    message = kind()
    detail.Unpack(message)
    return message


async def eventually(
    condition: Callable[[], object], *, seconds: float = 10, what: str = ""
) -> None:
    """Returns once `condition()` is true; raises TimeoutError, naming `what`, after `seconds`.

    A condition that is a coroutine function counts by what it returns.
    """
    deadline = time.monotonic() + seconds
    while not await _outcome(condition):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what or condition}")
        await asyncio.sleep(0.005)


async def _outcome(condition: Callable[[], object]) -> object:
    found = condition()
    return await found if inspect.isawaitable(found) else found


class ServiceProcess:
    """A service as its own process, told by `environment` only; its log lines are JSON.

    No `TRACKOPS_…` variable of the test run reaches it. Unless told otherwise it
    has its keys from `identity_for_tests`.
    """

    def __init__(self, module: str, environment: Mapping[str, str], log: Path) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TRACKOPS_")}
        self._log = log
        always = {
            "TRACKOPS_LOG_FORMAT": "json",
            "TRACKOPS_IDENTITY_TARGET": identity_for_tests().target,
            "TRACKOPS_REVOCATIONS_WAIT_SECONDS": "0",
        }
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                env=inherited | always | dict(environment),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def output(self) -> Sequence[str]:
        """Every line it wrote so far."""
        return self._log.read_text().splitlines()

    @property
    def events(self) -> Sequence[str]:
        """The event of each of its log lines."""
        return [line["event"] for line in self._lines()]

    def logged(self, event: str) -> Sequence[Mapping[str, Any]]:
        """Its log lines of this event."""
        return [line for line in self._lines() if line["event"] == event]

    def _lines(self) -> Sequence[Mapping[str, Any]]:
        return [json.loads(line) for line in self.output if line.startswith("{")]

    def wait_logged(self, event: str, *, seconds: float = 30) -> Sequence[Mapping[str, Any]]:
        """Its log lines of this event, once there is one.

        Raises AssertionError, with all it wrote, if it ends or `seconds` pass before.
        """
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while not (lines := self.logged(event)):
            alive = self._process.poll() is None and time.monotonic() < deadline
            assert alive, "\n".join([f"never said {event!r}:", *self.output])
            pause.wait(0.02)
        return lines

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def wait(self, *, seconds: float = 20) -> int:
        """Its exit status; raises `subprocess.TimeoutExpired` if it is not gone by then."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End it at once, if it runs."""
        self._process.kill()
        self._process.wait()


class TcpLink:
    """A way to a server on loopback that can be cut or hushed, and restored.

    The server notices nothing.
    """

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._whole = True
        self._hushed = False
        self._start(self._accept)

    @property
    def port(self) -> int:
        """Where clients connect to."""
        port: int = self._listener.getsockname()[1]
        return port

    def cut(self) -> None:
        """End every connection, and each new one at once."""
        with self._lock:
            self._whole = False
            for end in self._sockets:
                _shut(end)

    def hush(self) -> None:
        """Lose whatever the server says from now on; it goes on hearing what is said to it."""
        self._hushed = True

    def restore(self) -> None:
        """Let new connections through again."""
        with self._lock:
            self._whole = True
            self._hushed = False

    def close(self) -> None:
        """Cut it for good."""
        self.cut()
        _shut(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        with self._lock:
            if not self._whole:
                client.close()
                return
            try:
                server = socket.create_connection(self._server)
            except OSError:  # it is being restarted
                client.close()
                return
            self._sockets |= {client, server}
        self._start(self._pump, client, server)
        self._start(self._pump, server, client, lambda: self._hushed)

    def _pump(
        self,
        source: socket.socket,
        sink: socket.socket,
        lost: Callable[[], bool] = lambda: False,
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if not lost():
                    sink.sendall(data)
        _shut(sink)
        with self._lock:
            self._sockets.discard(source)
            _shut(source)
        source.close()

    @staticmethod
    def _start(work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
