"""Certificates that change under load, with gRPC's own retries off so that nothing is hidden."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from trackops_cli.local.authority import Authority
from trackops_common.grpc.credentials import channel_credentials, server_credentials
from trackops_common.grpc.endpoints import Context
from trackops_common.grpc.known_callers import KnownCallers
from trackops_common.grpc.renewed_channel import RenewedChannel
from trackops_common.testing import eventually
from trackops_common.tls import TlsFiles, TlsMaterial

_WORKERS = 8
_CALLS = 60
_ROTATIONS = 5
_STREAMS = 6


class World:
    """A server and a client of it, and the certificates that each of them saw."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.authority.issue(["order", "cli"])
        self.server_files = TlsFiles(self.authority.paths("order"))
        self.client_files = TlsFiles(self.authority.paths("cli"))
        self.channels: list[grpc.aio.Channel] = []
        self.callers: list[int] = []
        """Serial number of the certificate of each unary call's caller."""
        self.next_message = asyncio.Semaphore(0)
        self.target = ""

    def rotate(self) -> None:
        self.authority.renew(["order", "cli"])
        self.server_files.look()
        self.client_files.look()

    def connect(self, material: TlsMaterial) -> grpc.aio.Channel:
        options = [("grpc.enable_retries", 0)]
        channel = grpc.aio.secure_channel(self.target, channel_credentials(material), options)
        self.channels.append(channel)
        return channel

    async def call(self, request: bytes, context: Context) -> bytes:
        (pem,) = context.auth_context()["x509_pem_cert"]
        self.callers.append(serial(pem))
        return request

    async def stream(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        assert context.peer_identities()
        yield b"begun"
        await self.next_message.acquire()
        yield request


def serial(pem: bytes) -> int:
    return x509.load_pem_x509_certificate(pem).serial_number


def serial_of(authority: Authority, name: str) -> int:
    return serial(authority.paths(name).certificate.read_bytes())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    server = grpc.aio.server(interceptors=[KnownCallers(["cli"])])
    handlers: dict[str, Any] = {
        "Call": grpc.unary_unary_rpc_method_handler(made.call),
        "Stream": grpc.unary_stream_rpc_method_handler(made.stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Test", handlers),))
    port = server.add_secure_port("127.0.0.1:0", server_credentials(made.server_files))
    made.target = f"127.0.0.1:{port}"
    await server.start()
    yield made
    await server.stop(None)


def server_serial(world: World) -> int:
    """Of the certificate that a new connection is shown."""
    paths = world.authority.paths("cli")
    context = ssl.create_default_context(cafile=paths.ca)
    context.load_cert_chain(paths.certificate, paths.key)
    host, _, port = world.target.rpartition(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain, server_hostname="order") as shown,
    ):
        der = shown.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


async def test_no_call_is_lost_while_certificates_change(world: World) -> None:
    first = serial_of(world.authority, "cli")
    channel = RenewedChannel(world.client_files, world.connect)
    call = channel.unary_unary("/t.Test/Call")
    done = 0

    async def work(worker: int) -> None:
        nonlocal done
        for number in range(_CALLS):
            message = f"{worker} {number}".encode()
            assert await call(message, timeout=20) == message
            done += 1

    def enough(turn: int) -> bool:
        return done >= turn * _WORKERS * _CALLS // (_ROTATIONS + 1)

    async def rotate() -> None:
        for turn in range(1, _ROTATIONS + 1):
            await eventually(partial(enough, turn))
            world.rotate()

    async with channel:
        await asyncio.gather(rotate(), *map(work, range(_WORKERS)))
        await call(b"the last", timeout=20)

    assert done == _WORKERS * _CALLS
    assert len(set(world.callers)) == _ROTATIONS + 1
    assert world.callers[0] == first
    assert world.callers[-1] == serial_of(world.authority, "cli")


async def test_streams_go_on_and_the_old_channel_closes_after_the_last(world: World) -> None:
    async with RenewedChannel(world.client_files, world.connect) as channel:
        start = channel.unary_stream("/t.Test/Stream")
        streams = [start(b"%d" % number, timeout=20) for number in range(_STREAMS)]
        assert [await stream.read() for stream in streams] == [b"begun"] * _STREAMS
        world.rotate()
        assert await channel.unary_unary("/t.Test/Call")(b"new", timeout=20) == b"new"
        old, new = world.channels

        assert old.get_state() == grpc.ChannelConnectivity.READY
        for _ in range(_STREAMS):
            world.next_message.release()
        assert [await stream.read() for stream in streams] == [
            b"%d" % number for number in range(_STREAMS)
        ]
        assert [await stream.read() for stream in streams] == [grpc.aio.EOF] * _STREAMS

        await eventually(lambda: old.get_state() == grpc.ChannelConnectivity.SHUTDOWN)
        assert new.get_state() == grpc.ChannelConnectivity.READY


async def test_a_new_connection_is_shown_the_new_certificate(world: World) -> None:
    before = await asyncio.to_thread(server_serial, world)
    world.rotate()
    after = await asyncio.to_thread(server_serial, world)

    assert before != after
    assert after == serial_of(world.authority, "order")


async def test_a_change_of_the_authority_goes_through_both(world: World, tmp_path: Path) -> None:
    """First both are trusted everywhere, then the certificates change, then the old one goes."""
    other = Authority(tmp_path / "other")
    other.issue(["order", "cli"])
    old_ca = world.authority.paths("order").ca.read_bytes()
    new_ca = other.paths("order").ca.read_bytes()
    channel = RenewedChannel(world.client_files, world.connect)
    call = channel.unary_unary("/t.Test/Call")

    def look() -> None:
        world.server_files.look()
        world.client_files.look()

    async with channel:
        assert await call(b"1", timeout=20)
        world.authority.paths("order").ca.write_bytes(old_ca + new_ca)
        look()
        assert await call(b"2", timeout=20)
        for name in ("order", "cli"):
            mine, next_ = world.authority.paths(name), other.paths(name)
            mine.key.write_bytes(next_.key.read_bytes())
            mine.certificate.write_bytes(next_.certificate.read_bytes())
            look()
            assert await call(b"3", timeout=20)
        world.authority.paths("order").ca.write_bytes(new_ca)
        look()
        assert await call(b"4", timeout=20)

    assert world.callers[-1] == serial_of(other, "cli")


async def test_closing_ends_what_is_open_on_every_channel(world: World) -> None:
    channel = RenewedChannel(world.client_files, world.connect)
    start = channel.unary_stream("/t.Test/Stream")
    streams = []
    for _ in range(2):
        stream = start(b"", timeout=20)
        assert await stream.read() == b"begun"
        streams.append(stream)
        world.rotate()

    await channel.close()

    assert [stream.cancelled() for stream in streams] == [True, True]
    assert {one.get_state() for one in world.channels} == {grpc.ChannelConnectivity.SHUTDOWN}
