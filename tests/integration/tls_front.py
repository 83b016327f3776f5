"""TLS in front of a server that speaks none, as one with certificates looks to a client."""

from __future__ import annotations

import asyncio
import ssl
import struct
import threading
from concurrent.futures import Future

__all__ = ["TlsFront"]

_POSTGRES_WANTS_TLS = struct.pack("!ii", 8, 80877103)
"""The SSLRequest message of PostgreSQL's protocol, which is answered by one byte."""


class TlsFront:
    """Takes TLS connections on loopback and passes their content on to `port` there."""

    def __init__(self, port: int, context: ssl.SSLContext, *, postgres: bool = False) -> None:
        """`postgres`: the client asks for TLS in the protocol and the handshake comes after."""
        self._to = port
        self._context = context
        self._postgres = postgres
        self._listening: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="tls-front")
        self._thread.start()
        self.port = self._listening.result(10)
        self.handshakes = 0
        """Those that came to their end."""

    def close(self) -> None:
        """End every connection."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self._listening.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._postgres and not await _is_asked_for_tls(reader, writer):
                return
            await writer.start_tls(self._context)
            self.handshakes += 1
            await self._pass_on(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client did not like what it saw
        finally:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self._to)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_pump(reader, their_writer))
                ways.create_task(_pump(their_reader, writer))
        finally:
            their_writer.close()


async def _is_asked_for_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    if await reader.readexactly(len(_POSTGRES_WANTS_TLS)) != _POSTGRES_WANTS_TLS:
        return False
    writer.write(b"S")
    await writer.drain()
    return True


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
