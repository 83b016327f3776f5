"""The services: each a process of its own, told by its environment where the others are."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from trackops_cli.local.authority import COMMAND, EDGE, Authority, credentials_of
from trackops_cli.local.ports import HOST, Claim
from trackops_cli.local.processes import Command
from trackops_cli.local.server import Context, Server
from trackops_common.kafka_settings import KafkaAccess

__all__ = [
    "CERTIFIED_NAMES",
    "CLIENTS",
    "DEVELOPMENT_SECRET",
    "ROLES",
    "SECRETS",
    "SERVICES",
    "Addresses",
    "Service",
    "ServiceSpec",
    "is_serving",
]

DEVELOPMENT_SECRET = "identity_development"  # noqa: S105 - its name
"""The secret of the identity service's development clients, one for each role."""

SECRETS = {
    "TRACKOPS_PAGE_TOKEN_KEY": "order_page_tokens",
    "TRACKOPS_TOKEN_SEAL_KEY": "identity_token_seal",
    "TRACKOPS_KEY_ENCRYPTION_KEY": "identity_key_encryption",
    "TRACKOPS_DEVELOPMENT_SECRET": DEVELOPMENT_SECRET,
}
"""Settings that are secrets, and the names under which they are kept beside the passwords."""

_TLS_SETTINGS = tuple(f"TRACKOPS_TLS_{name}" for name in ("CERTIFICATE", "KEY", "CA", "CALLERS"))


@dataclass(frozen=True)
class Addresses:
    """What the parts of one stack need to know.

    `services` maps a service's name to host:port, `http` to that of its probes and metrics.
    """

    services: Mapping[str, str]
    http: Mapping[str, str]
    database_urls: Mapping[str, str]
    admin_url: str
    redis_url: str
    """As Redis's administrator."""
    redis_urls: Mapping[str, str]
    """By role: as the services that use it."""
    kafka: KafkaAccess
    """As Kafka's administrator."""
    kafka_users: Mapping[str, KafkaAccess]
    """By role: as those that use it."""
    secrets: Mapping[str, str] = field(repr=False)
    """By the setting that each is."""
    client_secrets: Mapping[str, str] = field(repr=False)
    """Of the services that call others, by client id."""
    authority: Authority | None = None
    """None where gRPC is plain text."""

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """For channels to the services; None for plain text.

        Raises:
            CertificateUnusable: the certificate is missing, damaged or expired.
        """
        return credentials_of(self.authority.paths(COMMAND)) if self.authority else None

    def database_url(self, role: str) -> str:
        """The stack's database as `role` (the service's package name) sees it."""
        return self.database_urls[role]

    @property
    def settings(self) -> dict[str, str]:
        """What the services can be told of each other, by environment variable."""
        targets = {
            f"TRACKOPS_{name.upper()}_TARGET": target for name, target in self.services.items()
        }
        return targets | {
            "TRACKOPS_FIRST_CLIENTS": json.dumps(dict(self.client_secrets)),
            "TRACKOPS_TRUSTED_PROXIES": HOST,  # the edge
            **self.secrets,
        }

    def settings_as(self, role: str) -> dict[str, str]:
        """How that role enters the servers, by environment variable."""
        redis, kafka = self.redis_urls.get(role), self.kafka_users.get(role)
        return ({"TRACKOPS_REDIS_URL": redis} if redis else {}) | (
            kafka.environment if kafka else {}
        )


@dataclass(frozen=True)
class ServiceSpec:
    """A service, and which settings it gets beside its own address and its way into the servers."""

    name: str
    settings: tuple[str, ...] = ()
    at_edge: bool = False
    """Whether the edge calls it."""

    @property
    def package(self) -> str:
        """Also the name of its role and of its schema."""
        return f"trackops_{self.name}"

    @property
    def client_id(self) -> str:
        """What the identity service knows it as; empty for one that calls no others."""
        calls = any(setting.endswith("_TARGET") for setting in self.settings)
        return self.name.replace("_", "-") if calls else ""

    @property
    def secret_name(self) -> str:
        """Under which its client's secret is kept."""
        return f"client_{self.name}"

    @property
    def certified_name(self) -> str:
        """The name in its certificate, which the chart's objects have too."""
        return self.name.replace("_", "-")

    @property
    def callers(self) -> list[str]:
        """The names of those who may call it: whoever is told its address, and we.

        Identity is among its own callers: it asks itself for the token it shows the relay.
        """
        target = f"TRACKOPS_{self.name.upper()}_TARGET"
        told = [
            spec.certified_name
            for spec in SERVICES
            if target in spec.settings or self.name == "identity"
        ]
        return [*told, COMMAND, *([EDGE] if self.at_edge else [])]

    def environment(self, addresses: Addresses) -> dict[str, str]:
        own = {
            "TRACKOPS_LISTEN": addresses.services[self.name],
            "TRACKOPS_HTTP_LISTEN": addresses.http[self.name],
            "TRACKOPS_DATABASE_URL": addresses.database_url(self.package),
            "TRACKOPS_IDENTITY_TARGET": addresses.services["identity"],
        }
        if self.client_id:
            own["TRACKOPS_CLIENT_ID"] = self.client_id
            own["TRACKOPS_CLIENT_SECRET"] = addresses.client_secrets[self.client_id]
        return (
            own
            | {setting: addresses.settings[setting] for setting in self.settings}
            | addresses.settings_as(self.package)
            | self._tls(addresses.authority)
        )

    def _tls(self, authority: Authority | None) -> dict[str, str]:
        """Empty where it is off: what the command itself is told must not reach the service."""
        if authority is None:
            return dict.fromkeys(_TLS_SETTINGS, "")
        paths = authority.paths(self.certified_name)
        files = (str(paths.certificate), str(paths.key), str(paths.ca))
        return dict(zip(_TLS_SETTINGS, (*files, ",".join(self.callers)), strict=True))


SERVICES = (
    ServiceSpec(
        "order",
        at_edge=True,
        settings=(
            "TRACKOPS_PAGE_TOKEN_KEY",
            "TRACKOPS_OUTBOX_RELAY_TARGET",
        ),
    ),
    ServiceSpec(
        "saga_orchestrator",
        settings=(
            "TRACKOPS_ORDER_TARGET",
            "TRACKOPS_INVENTORY_TARGET",
            "TRACKOPS_PAYMENT_TARGET",
            "TRACKOPS_OUTBOX_RELAY_TARGET",
        ),
    ),
    ServiceSpec("outbox_relay"),
    ServiceSpec("inventory", at_edge=True, settings=("TRACKOPS_OUTBOX_RELAY_TARGET",)),
    ServiceSpec("payment", at_edge=True, settings=("TRACKOPS_OUTBOX_RELAY_TARGET",)),
    ServiceSpec(
        "identity",
        at_edge=True,
        settings=(
            "TRACKOPS_TOKEN_SEAL_KEY",
            "TRACKOPS_KEY_ENCRYPTION_KEY",
            "TRACKOPS_DEVELOPMENT_SECRET",
            "TRACKOPS_FIRST_CLIENTS",
            "TRACKOPS_TRUSTED_PROXIES",
            "TRACKOPS_OUTBOX_RELAY_TARGET",
        ),
    ),
)

ROLES = tuple(spec.package for spec in SERVICES)

CERTIFIED_NAMES = (*(spec.certified_name for spec in SERVICES), COMMAND, EDGE)
"""Everybody who has a certificate where the mesh speaks TLS."""
CLIENTS = {spec.client_id: spec.secret_name for spec in SERVICES if spec.client_id}
"""The services that call others, by client id, and the names under which their secrets are kept."""


class Service(Server):
    """Ready when its gRPC health says SERVING."""

    def __init__(self, spec: ServiceSpec, context: Context, addresses: Addresses) -> None:
        super().__init__(spec.name, context)
        self._spec = spec
        self._addresses = addresses

    def command(self) -> Command:
        return Command(
            [sys.executable, "-m", self._spec.package],
            folder=self.context.home.root,
            environment=self._spec.environment(self._addresses),
        )

    def claims(self) -> Sequence[Claim]:
        http = self.context.ports.claim(f"{self.name}_http")
        return [*super().claims(), http]

    def is_ready(self) -> bool:
        credentials = self._addresses.credentials
        return is_serving(f"{HOST}:{self.claims()[0].port}", credentials)


def is_serving(
    target: str, credentials: grpc.ChannelCredentials | None = None, *, timeout_seconds: float = 2
) -> bool:
    """Whether the server at `target` (host:port) answers SERVING for itself as a whole.

    Without `credentials` it is asked in plain text.
    """
    with _channel(target, credentials) as channel:
        try:
            answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=timeout_seconds)
        except grpc.RpcError:
            return False
    return bool(answer.status == HealthCheckResponse.SERVING)


def _channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    options = [("grpc.enable_http_proxy", 0)]
    if credentials is None:
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, credentials, options)
