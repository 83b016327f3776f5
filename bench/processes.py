"""Processes that are measured or measure: what they cost, and small servers of ours."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from trackops_cli.local.ports import HOST, Ports
from trackops_cli.local.server import Server
from trackops_cli.local.stack import LocalStack

__all__ = ["LittleServer", "cpu_seconds", "cpu_seconds_of_all", "little_server", "process_of"]


def process_of(server: Server) -> psutil.Process:
    """Of a server that runs.

    Raises:
        SystemExit: it does not.
    """
    if server.process.pid is None:
        raise SystemExit(f"bench: {server.name} does not run")
    return psutil.Process(server.process.pid)


def cpu_seconds(*servers: Server) -> float:
    """What they have used so far, with their children: those alive, and those that they buried.

    A connection's process in Postgres ends with the connection, so without the
    buried ones a client that leaves would take its cost away.
    """
    while True:
        before = _families(servers)
        try:
            total = sum(sum(process.cpu_times()[:4]) for process in before)
        except psutil.NoSuchProcess:
            continue
        if before == _families(servers):  # else one may be counted twice, or not at all
            return float(total)


def cpu_seconds_of_all(stack: LocalStack) -> float:
    """What all servers and services of a stack that runs have used, the edge too."""
    return cpu_seconds(
        stack.postgres, stack.redis, stack.kafka, *stack.services.values(), stack.edge
    )


def _families(servers: tuple[Server, ...]) -> set[psutil.Process]:
    roots = [process_of(server) for server in servers]
    return {one for root in roots for one in (root, *root.children(recursive=True))}


class LittleServer:
    """A module of ours that serves gRPC at `target` (host:port) until it is killed."""

    def __init__(self, target: str, process: psutil.Process, start_seconds: float) -> None:
        self.target = target
        self.process = process
        self.start_seconds = start_seconds
        """From its start until it said that it serves."""


@contextmanager
def little_server(module: str, message: bytes = b"") -> Iterator[LittleServer]:
    """`python -m module host:port`, which reads `message` and says a line when it serves."""
    target = f"{HOST}:{Ports.free().order}"
    began = time.monotonic()
    server = subprocess.Popen(
        [sys.executable, "-m", module, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        if server.stdin is None or server.stdout is None:
            raise RuntimeError(f"{module} has no pipes")
        server.stdin.write(message)
        server.stdin.close()
        if not server.stdout.readline():
            raise SystemExit(f"bench: {module} does not serve")
        yield LittleServer(target, psutil.Process(server.pid), time.monotonic() - began)
    finally:
        server.kill()
        server.wait()
