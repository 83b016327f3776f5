"""Ways to servers on loopback that can be slow, end half-way through a message, or be refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from trackops_cli.local.ports import HOST

__all__ = ["Way", "Ways"]

_CHUNK = 65_536
_BYTES_BEFORE_CUT = 20
"""Within the first message of any of the protocols."""


@dataclass(slots=True, eq=False)
class _Connection:
    """One client's, and ours to the server for it."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    bytes_left: int | None = None
    """How much may still pass, either way; None: no end."""

    def abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Way:
    """One way: `port` leads to `server_port` as long as it is whole. Made by `Ways`."""

    def __init__(self, server_port: int, loop: asyncio.AbstractEventLoop) -> None:
        self._server_port = server_port
        self._loop = loop
        self._connections: set[_Connection] = set()
        self._delay_seconds = 0.0
        self._refuses = False
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more. In the loop's thread."""
        if self._server is not None:
            self._server.close()

    def slow(self, delay_seconds: float) -> None:
        """Hold back each chunk for so long, in both directions."""
        self._delay_seconds = delay_seconds

    def refuse(self) -> None:
        """End every connection and each new one at once."""
        self._refuses = True
        self._in_loop(self._abort_all)

    def cut(self) -> None:
        """End every connection after a few more bytes of whatever it is saying next."""
        self._in_loop(self._mark_all)

    def restore(self) -> None:
        """Whole and quick again, for connections to come as well."""
        self._refuses = False
        self._delay_seconds = 0.0

    def _in_loop(self, work: Any) -> None:
        self._loop.call_soon_threadsafe(work)

    def _abort_all(self) -> None:
        for one in self._connections:
            one.abort()

    def _mark_all(self) -> None:
        for one in self._connections:
            one.bytes_left = _BYTES_BEFORE_CUT

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._server_port)
        except OSError:  # it is being restarted
            writer.transport.abort()
            return
        connection = _Connection((writer, far_writer))
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._pump(connection, reader, far_writer),
                self._pump(connection, far_reader, writer),
            )
        finally:
            self._connections.discard(connection)
            connection.abort()

    async def _pump(
        self, connection: _Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                if connection.bytes_left is not None:
                    sink.write(data[: connection.bytes_left])
                    connection.bytes_left = 0
                    await sink.drain()
                    break
                sink.write(data)
                await sink.drain()
        connection.abort()


class Ways:
    """Makes ways, and carries what passes on them in a thread of its own."""

    def __init__(self) -> None:
        self._ways: list[Way] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ways", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def to(self, server_port: int) -> Way:
        """A way to that port of loopback, open."""
        way = Way(server_port, self._loop)
        self._run(way.open())
        self._ways.append(way)
        return way

    async def _end(self) -> None:
        for way in self._ways:
            way.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()
