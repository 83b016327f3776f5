"""Two replicas of every service on one stack's servers, each of this release or of another."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

from trackops_cli.local.mesh import ROLES
from trackops_cli.local.ports import HOST, Ports
from trackops_cli.local.provision import (
    connect,
    ensure_database,
    ensure_roles,
    ensure_schemas,
    migrate,
)
from trackops_cli.local.stack import DATABASE, LocalStack
from trackops_cli.testing import wait_for
from trackops_common.testing import ServiceProcess

from .release import Release

__all__ = ["Replica", "Replicas"]

_NAMES = ("identity", "inventory", "payment", "order", "saga_orchestrator", "outbox_relay")
_CALLED = {
    "inventory": "BatchReserveStock",
    "payment": "BatchAuthorizePayments",
    "order": "CreateOrder",
}
"""A call of each service that tells that its caller has found the new process."""


class Replica:
    """One of the two processes of a service, which is replaced in its place."""

    def __init__(self, name: str, stack: LocalStack, ports: Ports, targets: Mapping[str, str]):
        self.name = name
        self.address = f"{HOST}:{getattr(ports, name)}"
        self._http = f"{HOST}:{getattr(ports, f'{name}_http')}"
        self._environment = {
            **stack.services[name].command().environment,
            **{f"TRACKOPS_{other.upper()}_TARGET": target for other, target in targets.items()},
            "TRACKOPS_LISTEN": self.address,
            "TRACKOPS_HTTP_LISTEN": self._http,
        }
        self._logs = stack.context.home.logs
        self._process: ServiceProcess | None = None

    def start(self, release: Release | None) -> None:
        """Unless it runs: a process of that release, or of this one."""
        if self._process is None:
            log = Path(self._logs, f"{self.name}-{uuid.uuid4().hex[:6]}.log")
            code = release.environment if release else {}
            package = f"trackops_{self.name}"
            self._process = ServiceProcess(package, {**self._environment, **code}, log)

    def wait_serving(self) -> None:
        assert self._process is not None
        self._process.wait_logged("serving", seconds=180)

    def wait_heard(self) -> None:
        """Until a client has found it.

        Before the next one is replaced, as a cluster has it with `minReadySeconds`: clients may
        still wait with their next attempt to connect.
        """
        if self.name in _CALLED:
            called = _CALLED[self.name]
            wait_for(lambda: self._heard(called), what=f"the first {called} to {self.name}")

    def stop(self) -> None:
        """In order."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(seconds=60) == 0, self._process.output[-5:]
        self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _heard(self, method: str) -> bool:
        with urlopen(f"http://{self._http}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        calls = [one for one in lines if one.startswith("grpc_server_started_total{")]
        return any(
            float(one.rsplit(" ", 1)[1]) > 0 for one in calls if f'grpc_method="{method}"' in one
        )


class Replicas:
    """Both of each service; none of them runs yet."""

    def __init__(self, stack: LocalStack, started: ExitStack) -> None:
        """`started` ends them. The first of identity's is where the stack says that it is."""
        self.stack = stack
        sets = (stack.context.ports, Ports.free())
        self.targets = {
            name: "ipv4:" + ",".join(f"{HOST}:{getattr(ports, name)}" for ports in sets)
            for name in _NAMES
        }
        self._all = {
            name: tuple(Replica(name, stack, ports, self.targets) for ports in sets)
            for name in _NAMES
        }
        for replica in self:
            started.callback(replica.kill)

    def __iter__(self) -> Iterator[Replica]:
        return (replica for both in self._all.values() for replica in both)

    def of(self, name: str) -> tuple[Replica, ...]:
        return self._all[name]

    def start(self, release: Release, *, without: Iterable[Replica] = ()) -> None:
        """Those that do not run, of that release, until they serve."""
        left_out = list(without)
        chosen = [one for one in self if one not in left_out]
        for replica in chosen:
            replica.start(release)
        for replica in chosen:
            replica.wait_serving()

    def replace(self, number: int, release: Release | None) -> None:
        """The first or the second of every service, all at once, as a cluster does it.

        Returns when the clients have found the new ones.
        """
        chosen = [both[number] for both in self._all.values()]
        with ThreadPoolExecutor(len(chosen)) as pool:
            list(pool.map(lambda one: _replace(one, release), chosen))
        for replica in chosen:
            replica.wait_heard()

    def prepare(self, release: Release) -> None:
        """Servers with schemas, topics and users as that release has them."""
        stack = self.stack
        stack.start_servers()
        passwords = stack.passwords(ROLES)
        with connect(stack.addresses.admin_url) as admin:
            ensure_roles(admin, {role: passwords[role] for role in ROLES})
            ensure_database(admin, DATABASE, ROLES)
        with connect(stack.admin_url) as admin:
            ensure_schemas(admin, ROLES)
        for role in ROLES:
            release.migrate(role, stack.addresses.database_url(role))
        stack.provision_kafka()

    def migrate(self) -> None:
        """Brings the schemas to this release, as an upgrade does before its first new process."""
        migrate(ROLES, self.stack.addresses.database_url)


def _replace(replica: Replica, release: Release | None) -> None:
    replica.stop()
    replica.start(release)
    replica.wait_serving()
