"""What is done to the mesh. A fault is over, and its target there again, when the call returns."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import psutil
import redis

from trackops_cli.local.errors import StackError
from trackops_cli.local.processes import ManagedProcess
from trackops_cli.local.server import Server
from trackops_cli.testing import wait_for

from .proxy import Way
from .replicas import Replica
from .schedule import Planned
from .world import World

__all__ = ["Window", "Windows", "apply_all"]

_SLOW_SECONDS = 0.04
_STARTS = 5
_TAKEN_IN_SECONDS = 30
"""Each looks at its files every two seconds."""

_pause = threading.Event().wait


@dataclass(frozen=True, slots=True)
class Window:
    """When a fault was on, in seconds since 1970."""

    planned: Planned
    began: float
    ended: float


@dataclass
class Windows:
    """What was done so far."""

    all: list[Window] = field(default_factory=list)

    def cover(self, at: float, *, settle_seconds: float) -> bool:
        """Whether a fault was on then, or had ended not longer ago than that."""
        return any(one.began - 1 <= at <= one.ended + settle_seconds for one in self.all)

    @property
    def counts(self) -> Mapping[str, int]:
        return Counter(f"{one.planned.kind}" for one in self.all)


def apply_all(
    world: World, planned: Sequence[Planned], windows: Windows, tell: Callable[[str], None]
) -> None:
    """One after the other, each at its time; returns once the last has healed."""
    began = time.monotonic()
    for fault in planned:
        _pause(max(0, began + fault.at - time.monotonic()))
        tell(f"{time.monotonic() - began:6.1f} s  {fault.kind} {fault.target} {fault.seconds:g} s")
        start = time.time()
        _FAULTS[fault.kind](world, fault)
        windows.all.append(Window(fault, start, time.time()))


def _kill(world: World, fault: Planned) -> None:
    replica = world.replicas[fault.target]
    with replica.lock:
        replica.kill()
        _pause(fault.seconds)
        replica.start()
    _serve(replica)


def _freeze(world: World, fault: Planned) -> None:
    replica = world.replicas[fault.target]
    with replica.lock:
        replica.send(signal.SIGSTOP)
        try:
            _pause(fault.seconds)
        finally:
            replica.send(signal.SIGCONT)


def _roll(world: World, fault: Planned) -> None:
    for replica in world.of(fault.target):
        with replica.lock:
            replica.stop()
            replica.start()
        _serve(replica)


def _turn_clock(world: World, fault: Planned) -> None:
    """Restarted ahead, and once more with the right time."""
    replica = world.replicas[fault.target]
    for environment in (world.ahead, {}):
        with replica.lock:
            replica.stop()
            replica.start(**environment)
        _serve(replica)
        if environment:
            _pause(fault.seconds)


def _serve(replica: Replica) -> None:
    with suppress(AssertionError):  # it ended by itself, which is noted, and is started again
        replica.wait_serving()


def _stop_at_once(world: World, fault: Planned) -> None:
    """Postgres without a checkpoint: it recovers from its log."""
    process = world.stack.postgres.process
    pid = process.pid
    assert pid is not None
    postmaster = psutil.Process(pid)
    backends = postmaster.children(recursive=True)
    postmaster.send_signal(signal.SIGQUIT)
    wait_for(lambda: _is_over(process), seconds=60, what="Postgres's end")
    psutil.wait_procs(backends, timeout=60)  # the last of them to end lets go of its memory
    _pause(fault.seconds)
    _start(world.stack.postgres)


def _is_over(process: ManagedProcess) -> bool:
    return process.pid is None


def _kill_server(world: World, fault: Planned) -> None:
    server = _server(world, fault.target)
    server.process.kill()
    _pause(fault.seconds)
    _start(server)


def _start(server: Server) -> None:
    """Again and again: a busy machine takes its time, also to let go of what was killed."""
    for _ in range(_STARTS - 1):
        with suppress(StackError):
            return server.start()
    return server.start()


def _server(world: World, name: str) -> Server:
    servers: dict[str, Server] = {
        "postgres": world.stack.postgres,
        "kafka": world.stack.kafka,
        "redis": world.stack.redis,
    }
    return servers[name]


def _flush(world: World, fault: Planned) -> None:
    with redis.Redis.from_url(world.stack.addresses.redis_url) as client:
        client.flushall()


def _on_way(harm: Callable[[Way], None]) -> Callable[[World, Planned], None]:
    def do(world: World, fault: Planned) -> None:
        way = world.ways[fault.target]
        harm(way)
        try:
            _pause(fault.seconds)
        finally:
            way.restore()

    return do


def _renew_certificates(world: World, fault: Planned) -> None:
    """Over once everybody has taken in the new ones; raises TimeoutError if somebody does not."""
    world.renew_certificates()
    for replica in world.replicas.values():
        wait_for(
            partial(world.shows_newest_certificate, replica),
            seconds=_TAKEN_IN_SECONDS,
            what=f"the new certificate of {replica.name}",
        )


def _lose_answers(world: World, fault: Planned) -> None:
    world.provider.drops_answers = True
    try:
        _pause(fault.seconds)
    finally:
        world.provider.drops_answers = False


_FAULTS: Mapping[str, Callable[[World, Planned], None]] = {
    "kill -9": _kill,
    "kill -9 relay": _kill,
    "kill -9 edge": _kill,
    "SIGSTOP": _freeze,
    "SIGSTOP orchestrator": _freeze,
    "immediate stop": _stop_at_once,
    "kill -9 server": _kill_server,
    "flush": _flush,
    "slow": _on_way(lambda way: way.slow(_SLOW_SECONDS)),
    "cut half-way": _on_way(Way.cut),
    "refused": _on_way(Way.refuse),
    "rolling restart": _roll,
    "lost answers": _lose_answers,
    "clock ahead": _turn_clock,
    "new certificates": _renew_certificates,
}
