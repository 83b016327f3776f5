"""The mesh under test: each service as processes that can be harmed, behind ways to be cut."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from trackops_cli.local.edge import Edge
from trackops_cli.local.kafka import Detour
from trackops_cli.local.mesh import CERTIFIED_NAMES, SERVICES
from trackops_cli.local.ports import HOST, Ports
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import Mesh, temporary_stack
from trackops_edge.settings import Limits, Rate
from trackops_payment.adapters.simulator_books import Books
from trackops_payment.testing import API_KEY, ProviderServer

from .observer import observe
from .proxy import Way, Ways
from .replicas import Death, EdgeReplica, Replica, ServiceReplica

__all__ = ["REPLICAS", "World", "open_world"]

_EDGE = "edge"

REPLICAS: Mapping[str, int] = {
    "identity": 1,
    "inventory": 1,
    "payment": 1,
    "order": 2,
    "saga_orchestrator": 2,
    "outbox_relay": 2,
    _EDGE: 1,
}
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "payment": {
        # So that what nobody asks for again is found within the time that a run has.
        "TRACKOPS_PAYMENT_SWEEP_AFTER_SECONDS": "8",
        "TRACKOPS_PAYMENT_SWEEP_INTERVAL_SECONDS": "3",
        "TRACKOPS_PAYMENT_PROVIDER_TOTAL_TIMEOUT_SECONDS": "3",
    }
}
_EDGE_LIMITS = Limits(per_client=Rate(burst=1_000, per_second=500))
"""All customers come from one address."""
_MOST_LEDGER_ENTRIES = 1_000_000
_SCHEME = "ipv4:"


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

    def renew_certificates(self) -> None:
        """New ones for all, which name the targets too.

        gRPC takes a list of addresses for one name, and wants to find it in the certificate.
        """
        lists = [target.removeprefix(_SCHEME) for target in self.targets.values()]
        self.stack.authority.renew(CERTIFIED_NAMES, further=lists)

    def shows_newest_certificate(self, replica: Replica) -> bool:
        """Whether it has taken in the file that is there now."""
        newest = self.stack.authority.ends(replica.service.replace("_", "-"))
        return replica.certificate_ends() == {newest.timestamp()}

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
        stack = opened.enter_context(temporary_stack(tls=True))
        ways = _ways(opened.enter_context(Ways()), stack)
        books = Books(limit=_MOST_LEDGER_ENTRIES)
        provider = _provider(opened, stack, books)
        stack.start_servers()
        stack.provision()
        observe(stack.admin_url)
        logs = stack.context.home.root / "replicas"
        logs.mkdir()
        ports = [stack.context.ports, _further_ports(stack)]
        targets = {spec.name: _target(spec.name, ports) for spec in SERVICES}

        def environment(name: str, number: int) -> dict[str, str]:
            own = _environment(name, stack, ports[number - 1], targets, ways)
            return own | _provider_settings(name, stack, provider) | _paths(code)

        replicas = {
            one.name: one
            for name in targets
            for number in range(1, REPLICAS[name] + 1)
            for one in [ServiceReplica(f"{name}/{number}", environment(name, number), logs)]
        } | {f"{_EDGE}/1": EdgeReplica(_edge(stack, targets))}
        further = _paths(ahead, code)
        world = World(stack, replicas, ways, provider, books, targets, logs, further)
        stack.authority.issue(CERTIFIED_NAMES)
        world.renew_certificates()
        opened.callback(_kill_all, replicas)
        _start_all(replicas)
        yield world


def _ways(ways: Ways, stack: LocalStack) -> Mapping[str, Way]:
    """Kafka's clients take its word for its address, so it is told to name the way's."""
    ports = stack.context.ports
    inner = _further_ports(stack).kafka
    made = {
        "postgres": ways.to(ports.postgres),
        "kafka": ways.to(inner),
        "redis": ways.to(ports.redis),
    }
    stack.kafka.detour = Detour(inner, made["kafka"].port)
    return made


def _further_ports(stack: LocalStack) -> Ports:
    """Free ones, none of which the stack is yet going to listen on."""
    own = set(vars(stack.context.ports).values())
    while own & set(vars(ports := Ports.free()).values()):
        continue
    return ports


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
    """All replicas of a service."""
    own = ports[: REPLICAS[name]]
    return _SCHEME + ",".join(f"{HOST}:{getattr(one, name)}" for one in own)


def _edge(stack: LocalStack, targets: Mapping[str, str]) -> Edge:
    """The stack's own, before all replicas."""
    lists = {name: target.removeprefix(_SCHEME) for name, target in targets.items()}
    stack.edge = Edge(stack.context, replace(stack.addresses, services=lists), _EDGE_LIMITS)
    return stack.edge


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
        list(pool.map(lambda one: one.kill(), replicas.values()))
