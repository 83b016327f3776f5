"""The local stack as a whole: what `trackops up`, `down`, `reset`, `status` and the tests use."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trackops_cli.local.authority import Authority
from trackops_cli.local.edge import Edge
from trackops_cli.local.errors import DiskFull
from trackops_cli.local.home import Home
from trackops_cli.local.kafka import Kafka
from trackops_cli.local.kafka_rights import KAFKA_USERS, ensure_acls, ensure_users
from trackops_cli.local.mesh import (
    CERTIFIED_NAMES,
    CLIENTS,
    ROLES,
    SECRETS,
    SERVICES,
    Addresses,
    Service,
)
from trackops_cli.local.ports import HOST, Ports
from trackops_cli.local.postgres import ADMIN, Postgres
from trackops_cli.local.provision import (
    connect,
    ensure_database,
    ensure_roles,
    ensure_schemas,
    migrate,
)
from trackops_cli.local.redis import Redis
from trackops_cli.local.redis_rights import REDIS_USERS
from trackops_cli.local.server import Context, Progress, Server, together
from trackops_common.kafka_settings import SecurityProtocol
from trackops_common.topic_setup import ensure_topics
from trackops_common.topics import TOPICS

__all__ = ["DATABASE", "LocalStack", "PartStatus"]

DATABASE = "trackops"


@dataclass(frozen=True)
class PartStatus:
    """`pid` is None when it does not run; `ready` is whether it answers (services: SERVING)."""

    name: str
    address: str
    pid: int | None
    ready: bool


class LocalStack:
    """Servers and services of one state directory, on one set of ports.

    Any number of these objects may stand for the same directory, one after the other or at once:
    what runs is known by its pid files. Every method raises a StackError whose text is one line.
    """

    def __init__(
        self,
        home: Path,
        ports: Ports,
        progress: Progress = lambda _: None,
        *,
        kafka_protocol: SecurityProtocol = "SASL_PLAINTEXT",
        tls: bool | None = None,
    ) -> None:
        """`kafka_protocol`: see `Kafka`. `tls` is whether the services speak TLS once they are
        started; None: as before."""
        self.context = Context(Home(home), ports, progress)
        self.authority = Authority(self.context.home.certificates)
        self.tls = self.authority.exists if tls is None else tls
        self.postgres = Postgres(self.context)
        self.redis = Redis(self.context)
        self.kafka = Kafka(self.context, kafka_protocol)
        self.addresses = self._addresses()
        self.services = {
            spec.name: Service(spec, self.context, self.addresses) for spec in SERVICES
        }
        self.edge = Edge(self.context, self.addresses)

    @property
    def admin_url(self) -> str:
        """The stack's own database as the superuser; `addresses.admin_url` enters `postgres`."""
        return self.postgres.url(DATABASE)

    def passwords(self, roles: Iterable[str]) -> dict[str, str]:
        return self.context.home.passwords(roles)

    def up(self) -> None:
        """Starts whatever does not run, and brings the database and the topics up to date."""
        with self.context.home.alone(self.context.progress):
            self._check()
            self.context.progress("starting Postgres, Redis and Kafka")
            self.start_servers()
            self.context.progress("migrating the database, creating topics")
            self.provision()
            self.context.progress("starting the services")
            self._certify()
            self.start_services()

    def start_servers(self) -> None:
        """Returns when Postgres, Redis and Kafka answer."""
        self._start(*self._servers())

    def provision(self) -> None:
        """Roles, schemas, migrations, topics, users and their rights; safe to repeat."""
        try:
            together(self.context.cancelled, self._provision_database, self.provision_kafka)
        except Exception as error:
            self._explain(error)
            raise

    def provision_schemas(self) -> None:
        """The database, roles and their schemas, which may be empty; safe to repeat."""
        passwords = self.context.home.passwords(ROLES)
        with connect(self.addresses.admin_url) as admin:
            ensure_roles(admin, {role: passwords[role] for role in ROLES})
            ensure_database(admin, DATABASE, ROLES)
        with connect(self.postgres.url(DATABASE)) as admin:
            ensure_schemas(admin, ROLES)

    def provision_kafka(self) -> None:
        """Topics, and users with their rights; safe to repeat."""
        admin = self.kafka.access()
        ensure_topics(admin, TOPICS)
        if self.kafka.has_users:
            users = [user.name for user in KAFKA_USERS]
            ensure_users(admin, {user: self.kafka.password(user) for user in users})
            ensure_acls(admin)

    def start_services(self) -> None:
        """Returns when every service says SERVING, and the edge before them is ready."""
        self._start(*self.services.values())
        self.edge.start()

    def renew_certificates(self) -> None:
        """New ones for all; services that run take them in by themselves."""
        with self.context.home.alone(self.context.progress):
            self.authority.renew(CERTIFIED_NAMES)

    def stop(self, *, grace_seconds: float = 20) -> list[str]:
        """Ends the edge and the services, then the servers, by pid; keeps the data.

        Returns what had run.
        """
        services, servers = (*self.services.values(), self.edge), self._servers()
        ran: list[str] = []
        for group in (services, servers):
            ran += _stop_all(group, grace_seconds)
        return ran

    def down(self) -> list[str]:
        """`stop`, once no other command is changing this stack."""
        with self.context.home.alone(self.context.progress):
            return self.stop()

    def reset(self) -> None:
        """Stops everything and removes data, logs and passwords."""
        with self.context.home.alone(self.context.progress):
            self.stop(grace_seconds=0)
            self.context.home.erase()

    def status(self) -> list[PartStatus]:
        return [_status_of(part) for part in self._parts()]

    def _start(self, *parts: Server) -> None:
        together(self.context.cancelled, *(part.start for part in parts))

    def _check(self) -> None:
        """What can be refused before the first slow step."""
        self.context.home.check_space()
        for part in self._parts():
            part.check_ports()

    def _certify(self) -> None:
        """What has no TLS any more keeps no authority: whether there is one says what is so."""
        if self.tls:
            self.authority.issue(CERTIFIED_NAMES)
        else:
            self.authority.erase()

    def _provision_database(self) -> None:
        self.provision_schemas()
        migrate(ROLES, self.addresses.database_url)

    def _explain(self, error: Exception) -> None:
        """Raises what the reader can act on, if the error comes from a dead server or full disk."""
        for server in self._servers():
            if server.process.pid is None:
                raise server.process.death() from error
        if "No space left on device" in str(error):
            raise DiskFull(self.context.home.root) from error

    def _servers(self) -> tuple[Server, ...]:
        return (self.postgres, self.redis, self.kafka)

    def _parts(self) -> tuple[Server, ...]:
        return (*self._servers(), *self.services.values(), self.edge)

    def _addresses(self) -> Addresses:
        # All at once, before threads ask for them.
        secrets = self.context.home.passwords([ADMIN, *ROLES, *SECRETS.values(), *CLIENTS.values()])
        return Addresses(
            services={spec.name: self._address(spec.name) for spec in SERVICES},
            http={spec.name: self._address(f"{spec.name}_http") for spec in SERVICES},
            database_urls={role: self.postgres.url(DATABASE, role=role) for role in ROLES},
            admin_url=self.postgres.url(ADMIN),
            redis_url=self.redis.url(),
            redis_urls={user.name: self.redis.url(user.name) for user in REDIS_USERS},
            kafka=self.kafka.access(),
            kafka_users={user.name: self.kafka.access(user.name) for user in KAFKA_USERS},
            secrets={setting: secrets[name] for setting, name in SECRETS.items()},
            client_secrets={client: secrets[name] for client, name in CLIENTS.items()},
            authority=self.authority if self.tls else None,
        )

    def _address(self, part: str) -> str:
        return f"{HOST}:{self.context.ports.claim(part).port}"


def _stop_all(parts: tuple[Server, ...], grace_seconds: float) -> list[str]:
    stop: Callable[[Server], bool] = partial(Server.stop, grace_seconds=grace_seconds)
    with ThreadPoolExecutor(max_workers=len(parts)) as pool:
        return [part.name for part, ran in zip(parts, pool.map(stop, parts), strict=True) if ran]


def _status_of(part: Server) -> PartStatus:
    pid = part.process.pid
    return PartStatus(
        name=part.name,
        address=f"{HOST}:{part.claims()[0].port}",
        pid=pid,
        ready=pid is not None and part.is_ready(),
    )
