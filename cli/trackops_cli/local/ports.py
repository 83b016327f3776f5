"""Which loopback port each process of the local stack listens on."""

import errno
import os
import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields

import psutil

from trackops_cli.local.errors import InvalidSetting, PortTaken

__all__ = ["HOST", "Claim", "Ports"]

HOST = "127.0.0.1"

# Below the usual ephemeral range, so that no outgoing connection takes one between choice and use.
_TEST_RANGE = range(20_000, 32_000)


@dataclass(frozen=True)
class Ports:
    """DESIGN section 10; `TRACKOPS_PORT_<FIELD>` in the environment overrides a field."""

    order: int = 5051
    saga_orchestrator: int = 5052
    outbox_relay: int = 5053
    inventory: int = 5054
    payment: int = 5055
    identity: int = 5056
    order_http: int = 9051
    saga_orchestrator_http: int = 9052
    outbox_relay_http: int = 9053
    inventory_http: int = 9054
    payment_http: int = 9055
    identity_http: int = 9056
    edge: int = 8443
    edge_http: int = 9057
    postgres: int = 15432
    redis: int = 16379
    kafka: int = 19092
    kafka_controller: int = 19093

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Ports":
        """Raises InvalidSetting for a value that is no port number."""
        return cls(
            **{
                field.name: _port(variable, environment[variable])
                for field in fields(cls)
                if (variable := variable_of(field.name)) in environment
            }
        )

    @classmethod
    def free(cls) -> "Ports":
        """Ports nobody listens on now; for tests, which run beside a stack on the default ones."""
        among = _test_range()
        with ExitStack() as held:
            return cls(**{field.name: _hold_free_port(held, among) for field in fields(cls)})

    def claim(self, field: str) -> "Claim":
        return Claim(port=getattr(self, field), wanted_by=field, variable=variable_of(field))


@dataclass(frozen=True)
class Claim:
    """A port somebody is about to listen on."""

    port: int
    wanted_by: str
    variable: str

    def check(self) -> None:
        """Raises PortTaken if a process listens there; connections in TIME_WAIT do not count."""
        try:
            _bind(self.port).close()
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise PortTaken(self.port, self.wanted_by, self.variable, _holder(self.port)) from error


def variable_of(field: str) -> str:
    return f"TRACKOPS_PORT_{field.upper()}"


def _port(variable: str, value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) < 65_536:
        raise InvalidSetting(variable, value, "a port number")
    return int(value)


def _bind(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
        bound.listen()
    except OSError:
        bound.close()
        raise
    return bound


def _test_range(environment: Mapping[str, str] = os.environ) -> range:
    """Each of pytest's workers has ports of its own: what one is about to use no other takes."""
    worker = int(environment.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return _TEST_RANGE[worker :: int(environment.get("PYTEST_XDIST_WORKER_COUNT", "1"))]


def _hold_free_port(held: ExitStack, among: range) -> int:
    while True:
        port = random.choice(among)  # noqa: S311 - any will do
        try:
            held.enter_context(_bind(port))
        except OSError:
            continue
        return port


def _holder(port: int) -> str:
    """`nginx (pid 12)`, as far as this user may see it."""
    return next(_listeners(port), "")


def _listeners(port: int) -> Iterator[str]:
    """Other users' processes are seen by root only; then there is nothing to name."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            if listens and connection.pid is not None:
                yield f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
