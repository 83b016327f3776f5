from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from structlog.testing import capture_logs

from trackops_common.errors import BindError
from trackops_common.http_endpoint import Asked, HttpLimits, Reply, serving_pages
from trackops_common.testing import eventually
from trackops_common.testing_http import get, send

LIMITS = HttpLimits(head_bytes=1024, seconds=0.3, connections=2, bind_seconds=0.2)


async def _echo(asked: Asked) -> Reply:
    return Reply(HTTPStatus.OK, f"asked: {asked.query}".encode())


async def _kept(_: Asked) -> Reply:
    return Reply(HTTPStatus.OK, b"{}", "application/json", max_age_seconds=60)


async def _taken(asked: Asked) -> Reply:
    return Reply(HTTPStatus.OK, asked.accept.encode())


async def _broken(_: Asked) -> Reply:
    raise ValueError("a defect")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    pages = {"/page": _echo, "/broken": _broken, "/kept": _kept, "/taken": _taken}
    async with serving_pages("127.0.0.1:0", pages, limits=LIMITS) as bound:
        yield bound


async def test_a_page_gets_its_query(port: int) -> None:
    assert await get(port, "/page?verbose&x=1") == (200, "asked: verbose&x=1")
    assert await get(port, "/page") == (200, "asked: ")


async def test_a_page_says_for_how_long_it_may_be_kept(port: int) -> None:
    kept, asked_for_anew = [
        await send(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for path in ("/kept", "/page")
    ]
    assert b"cache-control: public, max-age=60\r\n" in kept
    assert b"content-type: application/json\r\n" in kept
    assert b"cache-control: no-store\r\n" in asked_for_anew


async def test_a_page_that_is_not_there_is_404(port: int) -> None:
    assert await get(port, "/page/") == (404, "404 Not Found\n")


@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE"])
async def test_only_get_is_answered(port: int, method: str) -> None:
    answer = await send(port, f"{method} /page HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"allow: GET" in answer


async def test_a_head_that_is_too_long_is_refused(port: int) -> None:
    answer = await send(port, b"GET /page HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 2000)

    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("request_", [b"not http at all\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n"])
async def test_what_is_no_http_is_refused(port: int, request_: bytes) -> None:
    assert (await send(port, request_)).startswith(b"HTTP/1.1 400 ")
    assert await get(port, "/page") == (200, "asked: ")


async def test_a_connection_serves_one_request(port: int) -> None:
    answer = await send(port, b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n" * 2)

    assert answer.count(b"HTTP/1.1 200 ") == 1


async def test_who_says_nothing_is_not_waited_for(port: int) -> None:
    assert await send(port, b"GET /page HTTP/1.1\r\n") == b""


async def test_no_more_connections_than_allowed_are_served(port: int) -> None:
    with (
        socket.create_connection(("127.0.0.1", port)) as first,
        socket.create_connection(("127.0.0.1", port)) as second,
    ):
        for silent in (first, second):
            silent.sendall(b"G")
        assert await send(port, b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n") == b""

    async def served() -> bytes:
        return await send(port, b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")

    await eventually(served, what="a place of those who left is given to another")


async def test_a_page_that_fails_is_500_and_logged(port: int) -> None:
    with capture_logs() as logs:
        assert await get(port, "/broken") == (500, "500 Internal Server Error\n")

    assert [(line["event"], line["path"]) for line in logs] == [("page failed", "/broken")]


async def test_a_taken_port_is_refused_by_name(port: int) -> None:
    with pytest.raises(BindError, match=rf"cannot listen on 127\.0\.0\.1:{port}"):
        async with serving_pages(f"127.0.0.1:{port}", {}, limits=LIMITS):
            pass


async def test_a_page_gets_what_its_caller_takes(port: int) -> None:
    head = b"GET /taken HTTP/1.1\r\nHost: x\r\nAccept: a/b;q=0.5\r\nAccept: c/d\r\n\r\n"
    assert (await send(port, head)).endswith(b"a/b;q=0.5,c/d")
