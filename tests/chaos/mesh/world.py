"""The mesh under test: each service as processes that can be harmed, behind ways to be cut."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from trackops_cli.local.kafka import Detour
from trackops_cli.local.ports import HOST, Ports
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import Mesh, temporary_stack
from trackops_common.testing import ServiceProcess
from trackops_payment.adapters.simulator_books import Books
from trackops_payment.testing import API_KEY, ProviderServer

from .observer import observe
from .proxy import Way, Ways

__all__ = ["REPLICAS", "Death", "Replica", "World", "open_world"]

REPLICAS: Mapping[str, int] = {
    "identity": 1,
    "inventory": 1,
    "payment": 1,
    "order": 2,
    "saga_orchestrator": 2,
    "outbox_relay": 2,
}
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "payment": {
        # So that what nobody asks for again is found within the time that a run has.
        "TRACKOPS_PAYMENT_SWEEP_AFTER_SECONDS": "8",
        "TRACKOPS_PAYMENT_SWEEP_INTERVAL_SECONDS": "3",
        "TRACKOPS_PAYMENT_PROVIDER_TOTAL_TIMEOUT_SECONDS": "3",
    }
}
_SERVING_SECONDS = 240
_MOST_LEDGER_ENTRIES = 1_000_000


@dataclass(frozen=True, slots=True)
class Death:
    """A process that ended without having been told to."""

    replica: str
    status: int
    last_lines: str


class Replica:
    """One process of a service, started again under the same address whenever it ended."""

    def __init__(self, name: str, environment: Mapping[str, str], logs: Path) -> None:
        """`name` is the service's and a number, such as `order/1`."""
        self.name = name
        self._environment = environment
        self._logs = logs
        self._process: ServiceProcess | None = None
        self.lock = threading.Lock()
        """Held by whoever ends or starts it."""

    @property
    def service(self) -> str:
        return self.name.partition("/")[0]

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        process = self._process
        return None if process is None else process.pid

    def start(self, **more: str) -> None:
        """Returns at once; `more` goes over its environment."""
        log = self._logs / f"{self.name.replace('/', '-')}-{uuid.uuid4().hex[:8]}.json"
        environment = {**self._environment, **more}
        self._process = ServiceProcess(f"trackops_{self.service}", environment, log)

    def wait_serving(self) -> None:
        """Returns once it serves; raises AssertionError with what it wrote if it does not."""
        assert self._process is not None
        self._process.wait_logged("serving", seconds=_SERVING_SECONDS)

    def send(self, what: signal.Signals) -> None:
        """A signal."""
        if self.pid is not None:
            os.kill(self.pid, what)

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def stop(self) -> None:
        """End it as a rolling restart does, and wait."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(seconds=60)

    def revive(self) -> Death | None:
        """What ended by itself, if it did; it is started again, as a cluster does."""
        with self.lock:
            process = self._process
            if process is None:
                return None
            status = process.exit_status
            if status is None:
                return None
            self.start()
            return Death(self.name, status, "\n".join(process.output[-5:]))


@dataclass
class World:
    """Everything that a run has; `open_world` makes one."""

    stack: LocalStack
    replicas: Mapping[str, Replica]
    """By name."""
    ways: Mapping[str, Way]
    """Those of all services to `postgres`, `kafka` and `redis`."""
    provider: ProviderServer
    books: Books
    targets: Mapping[str, str]
    """By service: every replica of it, as gRPC names them."""
    logs: Path
    """Every process of a service has a file of its own there."""
    ahead: Mapping[str, str]
    """Environment of a service whose clock is ahead."""
    deaths: list[Death] = field(default_factory=list)
    """What ended by itself."""

    @property
    def mesh(self) -> Mesh:
        return Mesh(self.stack)

    def of(self, service: str) -> list[Replica]:
        """Its replicas."""
        return [one for one in self.replicas.values() if one.service == service]

    @contextmanager
    def revived(self) -> Iterator[None]:
        """Meanwhile what ends by itself is noted, and started again."""
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(0.5):
                self.deaths += filter(None, [one.revive() for one in self.replicas.values()])

        watcher = threading.Thread(target=look, name="revive")
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()


@contextmanager
def open_world(code: Path | None = None, ahead: Path | None = None) -> Iterator[World]:
    """A mesh that serves, with an observer in its database; nothing of it is left at the end.

    `code` is a folder with packages that go before the installed ones in every service; `ahead`
    one for the service whose clock is to be ahead.
    """
    with ExitStack() as opened:
        stack = opened.enter_context(temporary_stack())
        ways = _ways(opened.enter_context(Ways()), stack)
        books = Books(limit=_MOST_LEDGER_ENTRIES)
        provider = _provider(opened, stack, books)
        stack.start_servers()
        stack.provision()
        observe(stack.admin_url)
        logs = stack.context.home.root / "replicas"
        logs.mkdir()
        ports = [stack.context.ports, Ports.free()]
        targets = {name: _target(name, ports[:count]) for name, count in REPLICAS.items()}
        common = _paths(code)
        replicas = {
            one.name: one
            for name, count in REPLICAS.items()
            for one in [
                Replica(
                    f"{name}/{number}",
                    _environment(name, stack, ports[number - 1], targets, ways)
                    | _provider_settings(name, stack, provider)
                    | common,
                    logs,
                )
                for number in range(1, count + 1)
            ]
        }
        opened.callback(_kill_all, replicas)
        _start_all(replicas)
        further = _paths(ahead, code)
        yield World(stack, replicas, ways, provider, books, targets, logs, further)


def _ways(ways: Ways, stack: LocalStack) -> Mapping[str, Way]:
    """Kafka's clients take its word for its address, so it is told to name the way's."""
    ports = stack.context.ports
    inner = Ports.free().kafka
    made = {
        "postgres": ways.to(ports.postgres),
        "kafka": ways.to(inner),
        "redis": ways.to(ports.redis),
    }
    stack.kafka.detour = Detour(inner, made["kafka"].port)
    return made


def _provider(opened: ExitStack, stack: LocalStack, books: Books) -> ProviderServer:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(stack.context.home.root / "provider-ca.pem")
    certificate = authority.issue_cert(HOST)
    return opened.enter_context(closing(ProviderServer(certificate, books=books)))


def _provider_settings(name: str, stack: LocalStack, provider: ProviderServer) -> dict[str, str]:
    if name != "payment":
        return {}
    return {
        "TRACKOPS_PAYMENT_PROVIDER": "https",
        "TRACKOPS_PAYMENT_PROVIDER_URL": provider.url,
        "TRACKOPS_PAYMENT_PROVIDER_API_KEY": API_KEY,
        "TRACKOPS_PAYMENT_PROVIDER_CA_FILE": str(stack.context.home.root / "provider-ca.pem"),
    }


def _target(name: str, ports: list[Ports]) -> str:
    return "ipv4:" + ",".join(f"{HOST}:{getattr(one, name)}" for one in ports)


def _environment(
    name: str,
    stack: LocalStack,
    ports: Ports,
    targets: Mapping[str, str],
    ways: Mapping[str, Way],
) -> dict[str, str]:
    """The stack's own for this service, by ways and to all replicas."""
    own = dict(stack.services[name].command().environment)
    own |= {f"TRACKOPS_{other.upper()}_TARGET": target for other, target in targets.items()}
    own["TRACKOPS_LISTEN"] = f"{HOST}:{getattr(ports, name)}"
    own["TRACKOPS_HTTP_LISTEN"] = f"{HOST}:{getattr(ports, f'{name}_http')}"
    own["TRACKOPS_DATABASE_URL"] = _by(ways["postgres"], own["TRACKOPS_DATABASE_URL"])
    if "TRACKOPS_REDIS_URL" in own:
        own["TRACKOPS_REDIS_URL"] = _by(ways["redis"], own["TRACKOPS_REDIS_URL"])
    own["TRACKOPS_KAFKA_BOOTSTRAP_SERVERS"] = f"{HOST}:{ways['kafka'].port}"
    return own | dict(_SETTINGS.get(name, {}))


def _by(way: Way, url: str) -> str:
    parts = urlsplit(url)
    login, _, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login}@{HOST}:{way.port}").geturl()


def _paths(*folders: Path | None) -> dict[str, str]:
    found = [str(folder) for folder in folders if folder is not None]
    return {"PYTHONPATH": os.pathsep.join(found)} if found else {}


def _start_all(replicas: Mapping[str, Replica]) -> None:
    """Identity first: the others ask it for its keys."""
    _start(replica for replica in replicas.values() if replica.service == "identity")
    _start(replica for replica in replicas.values() if replica.service != "identity")


def _start(replicas: Iterator[Replica]) -> None:
    started = list(replicas)
    for replica in started:
        replica.start()
    for replica in started:
        replica.wait_serving()


def _kill_all(replicas: Mapping[str, Replica]) -> None:
    with ThreadPoolExecutor(max_workers=len(replicas)) as pool:
        list(pool.map(Replica.kill, replicas.values()))
