"""HTTP as a probe or a scraper speaks it, for tests."""

from __future__ import annotations

import asyncio
import socket
from http.client import HTTPConnection

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["get", "get_blocking", "numbers", "scrape", "send"]


def get_blocking(address: str, path: str) -> tuple[int, str]:
    """Status and body of a GET at `address` (host:port)."""
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


async def get(port: int, path: str) -> tuple[int, str]:
    """The same on loopback, while the loop serves."""
    return await asyncio.to_thread(get_blocking, f"127.0.0.1:{port}", path)


async def send(port: int, request: bytes) -> bytes:
    """Everything that comes back for bytes as they are."""

    def exchange() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            try:
                while part := connection.recv(65_536):
                    answer += part
            except ConnectionResetError:
                pass
            return answer

    return await asyncio.to_thread(exchange)


def scrape(address: str) -> dict[tuple[str, frozenset[str]], float]:
    """The numbers of the service whose probes are at `address`."""
    status, text = get_blocking(address, "/metrics")
    assert status == 200, text
    return numbers(text)


def numbers(text: str) -> dict[tuple[str, frozenset[str]], float]:
    """The samples of a scrape, by name and `label=value`."""
    return {
        (sample.name, frozenset(f"{key}={value}" for key, value in sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
