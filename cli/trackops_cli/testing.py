"""What the fixtures of the root `conftest.py` hand to tests."""

import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from threading import Event
from time import monotonic
from urllib.parse import urlsplit

from psycopg2.sql import SQL, Identifier

from trackops_cli.credentials import Credentials
from trackops_cli.local.home import Home
from trackops_cli.local.mesh import DEVELOPMENT_SECRET, ROLES, Addresses
from trackops_cli.local.ports import Ports
from trackops_cli.local.provision import (
    connect,
    ensure_database,
    ensure_roles,
    ensure_schemas,
    migrate,
    restrict,
)
from trackops_cli.local.stack import LocalStack
from trackops_common.kafka_settings import KafkaAccess, SecurityProtocol
from trackops_common.testing_tokens import identity_for_tests
from trackops_common.topic_setup import ensure_topics

__all__ = [
    "Database",
    "DatabaseTemplate",
    "KafkaCluster",
    "Mesh",
    "command_environment",
    "leaked_secrets",
    "temporary_stack",
    "wait_for",
]

_TEMPLATE = "trackops_template"


@dataclass(frozen=True)
class Database:
    """A database of its own with every service's schema migrated."""

    name: str
    admin_url: str
    """As the superuser."""
    passwords: Mapping[str, str]

    def url(self, role: str) -> str:
        """As a service's role, say `trackops_order`."""
        address = urlsplit(self.admin_url).netloc.rpartition("@")[2]
        return f"postgresql://{role}:{self.passwords[role]}@{address}/{self.name}"


@dataclass(frozen=True)
class _Topic:
    name: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True)
class KafkaCluster:
    """A broker shared by all tests; each makes topics of its own."""

    bootstrap: str

    def topic(self, partitions: int = 1, **config: str) -> str:
        """Makes a topic and returns its name; config keys have `_` for `.` (`cleanup_policy`)."""
        name = f"test-{uuid.uuid4().hex}"
        settings = {key.replace("_", "."): value for key, value in config.items()}
        ensure_topics(KafkaAccess(self.bootstrap), [_Topic(name, partitions, settings)])
        return name


@dataclass(frozen=True)
class Mesh:
    """Every service and server as processes; `stack` stops and starts single ones."""

    stack: LocalStack

    @property
    def addresses(self) -> Addresses:
        return self.stack.addresses

    def target(self, service: str) -> str:
        """host:port of a service, say `saga_orchestrator`."""
        return self.addresses.services[service]

    def token(self, role: str = "admin") -> str:
        """An access token of a development client with this role."""
        return self._credentials.access_token(role)

    @cached_property
    def _credentials(self) -> Credentials:
        return Credentials.of_stack(self.stack.context.home, self.target("identity"))

    def http(self, service: str) -> str:
        """host:port of a service's probes and metrics."""
        return self.addresses.http[service]

    def database_url(self, role: str) -> str:
        return self.addresses.database_url(role)

    @property
    def admin_url(self) -> str:
        """The mesh's database as the superuser."""
        return self.stack.admin_url

    @property
    def kafka(self) -> KafkaAccess:
        """As Kafka's administrator."""
        return self.addresses.kafka


class DatabaseTemplate:
    """Migrated once per server; every database made from it costs a copy only."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._passwords = stack.passwords(ROLES)
        self._migrate()

    @contextmanager
    def database(self) -> Iterator[Database]:
        """A copy, dropped at the end together with whatever is still connected to it."""
        name = f"test_{uuid.uuid4().hex}"
        with connect(self._stack.addresses.admin_url) as admin, admin.cursor() as cursor:
            template = Identifier(_TEMPLATE)
            cursor.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), template))
            restrict(admin, name, ROLES)
        try:
            yield self._named(name)
        finally:
            with connect(self._stack.addresses.admin_url) as admin, admin.cursor() as cursor:
                cursor.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def _named(self, name: str) -> Database:
        return Database(name, self._stack.postgres.url(name), self._passwords)

    def _migrate(self) -> None:
        template = self._named(_TEMPLATE)
        with connect(self._stack.addresses.admin_url) as admin:
            ensure_roles(admin, {role: self._passwords[role] for role in ROLES})
            ensure_database(admin, _TEMPLATE, ROLES)
        with connect(template.admin_url) as admin:
            ensure_schemas(admin, ROLES)
        migrate(ROLES, template.url)


def command_environment(home: Path) -> dict[str, str]:
    """For a `trackops` command that is an administrator to services of `identity_for_tests`.

    `home` is an empty folder, and becomes the command's.
    """
    Home(home).passwords([DEVELOPMENT_SECRET])
    return {
        "TRACKOPS_HOME": str(home),
        "TRACKOPS_PORT_IDENTITY": identity_for_tests().target.rpartition(":")[2],
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }


@contextmanager
def temporary_stack(
    *, kafka_protocol: SecurityProtocol = "PLAINTEXT", tls: bool = False
) -> Iterator[LocalStack]:
    """A stack on free ports in a folder of its own; nothing of it is left at the end.

    Nothing is started yet. The folder is not pytest's: Postgres's system user cannot enter that.
    Its Kafka asks nobody for a name unless `kafka_protocol` says so.
    """
    home = Path(tempfile.mkdtemp(prefix="trackops-test-"))
    home.chmod(0o711)
    with _guarded(home):
        stack = LocalStack(home, Ports.free(), kafka_protocol=kafka_protocol, tls=tls)
        try:
            yield stack
        finally:
            stack.stop(grace_seconds=0)
            rmtree(home, ignore_errors=True)


@contextmanager
def _guarded(home: Path) -> Iterator[None]:
    """Even a run that is killed leaves no process behind: another one watches it."""
    command = [sys.executable, "-m", "trackops_cli.local.guard", str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        yield


def leaked_secrets(home: Home) -> list[str]:
    """Each password and key of the stack that stands in a log: `<its name> in <file>`."""
    known = home.passwords([])
    return [
        f"{name} in {log.name}"
        for log in sorted(home.logs.iterdir())
        for name, secret in known.items()
        if secret.encode() in log.read_bytes()
    ]


def wait_for(condition: Callable[[], object], *, seconds: float = 30, what: str = "") -> None:
    """Returns once `condition()` is true; raises TimeoutError, naming `what`, after `seconds`."""
    deadline = monotonic() + seconds
    pause = Event()
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what or condition}")
        pause.wait(0.02)
