"""Small pages over HTTP/1.1, for probes and scrapes.

Reading a request is left to h11, which knows HTTP and no sockets: a web
framework would be a router, sessions and bodies for three pages without any.
Each connection is for one request, so nobody can keep one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus

import h11
import structlog

from trackops_common.errors import BindError

__all__ = ["Asked", "HttpLimits", "Page", "Reply", "serving_pages"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """A page as it is now."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    max_age_seconds: int = 0
    """For how long anybody may keep it; 0: not at all."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller wants of a page."""

    query: str = ""
    """What stands after `?`."""
    accept: str = ""
    """The media types it takes, as HTTP's header of this name has them; empty: any."""


Page = Callable[[Asked], Awaitable[Reply]]
"""Makes the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one caller may take."""

    head_bytes: int = 8 * 1024
    """Of a request's line and headers."""
    seconds: float = 10.0
    """From the connection to the end of the reply."""
    connections: int = 32
    """At a time; those beyond are closed at once."""
    bind_seconds: float = 5.0
    """For how long a taken port is tried."""


@asynccontextmanager
async def serving_pages(
    address: str, pages: Mapping[str, Page], *, limits: HttpLimits | None = None
) -> AsyncIterator[int]:
    """Serve `pages`, by path, at `address` (host:port) meanwhile; the port that was bound.

    Raises:
        BindError: the port is taken or not allowed.
    """
    endpoint = _Endpoint(pages, limits or HttpLimits())
    server = await _bind(address, endpoint)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        endpoint.close()


async def _bind(address: str, endpoint: _Endpoint) -> asyncio.Server:
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    give_up = loop.time() + endpoint.limits.bind_seconds
    while True:
        try:
            return await asyncio.start_server(endpoint.answer, host.strip("[]") or None, int(port))
        except (OSError, ValueError) as error:
            if loop.time() >= give_up:
                raise BindError(address) from error
        await asyncio.sleep(0.1)


class _Endpoint:
    """Answers connections."""

    def __init__(self, pages: Mapping[str, Page], limits: HttpLimits) -> None:
        self.limits = limits
        self._pages = pages
        self._open: set[asyncio.StreamWriter] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= self.limits.connections:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            with suppress(OSError, TimeoutError, h11.LocalProtocolError):
                async with asyncio.timeout(self.limits.seconds):
                    await self._exchange(reader, writer)
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    def close(self) -> None:
        """End what is open."""
        for writer in self._open:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=self.limits.head_bytes)
        try:
            request = await _request(connection, reader)
            if request is None:
                return
            reply = await self._reply(request)
        except h11.RemoteProtocolError as error:
            reply = _refusal(HTTPStatus(error.error_status_hint))
        writer.write(_encoded(connection, reply))
        await writer.drain()
        writer.write_eof()
        with suppress(ConnectionError):
            await reader.read(1)  # the caller has it all once it closes

    async def _reply(self, request: h11.Request) -> Reply:
        if request.method != b"GET":
            return _not_allowed(request.method)
        path, _, query = request.target.decode("ascii").partition("?")
        page = self._pages.get(path)
        if page is None:
            return _refusal(HTTPStatus.NOT_FOUND)
        try:
            return await page(Asked(query, _accept(request)))
        except Exception:  # noqa: BLE001 - logged, and told to the caller as HTTP has it
            _log.error("page failed", path=path, exc_info=True)
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR)


def _accept(request: h11.Request) -> str:
    return ",".join(value.decode("latin-1") for name, value in request.headers if name == b"accept")


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """Line and headers; None if the caller left before."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        connection.receive_data(await reader.read(4096))


def _encoded(connection: h11.Connection, reply: Reply) -> bytes:
    headers = [
        ("content-type", reply.content_type),
        ("content-length", str(len(reply.body))),
        (
            "cache-control",
            f"public, max-age={age}" if (age := reply.max_age_seconds) else "no-store",
        ),
        ("connection", "close"),
    ]
    if reply.status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("allow", "GET"))
    head = h11.Response(status_code=reply.status.value, reason=reply.status.phrase, headers=headers)
    parts = [connection.send(part) for part in (head, h11.Data(reply.body), h11.EndOfMessage())]
    return b"".join(part for part in parts if part)


def _not_allowed(method: bytes) -> Reply:
    refusal = _refusal(HTTPStatus.METHOD_NOT_ALLOWED)
    return replace(refusal, body=b"") if method == b"HEAD" else refusal


def _refusal(status: HTTPStatus) -> Reply:
    return Reply(status, f"{status.value} {status.phrase}\n".encode())
