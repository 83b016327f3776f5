"""The services: each a process of its own, told by its environment where the others are."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from trackops_cli.local.ports import HOST, Claim
from trackops_cli.local.processes import Command
from trackops_cli.local.server import Context, Server

__all__ = [
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
    kafka_bootstrap: str
    secrets: Mapping[str, str] = field(repr=False)
    """By the setting that each is."""

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
            "TRACKOPS_REDIS_URL": self.redis_url,
            "TRACKOPS_KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap,
            "TRACKOPS_TRUSTED_PROXIES": HOST,  # the edge
            **self.secrets,
        }


@dataclass(frozen=True)
class ServiceSpec:
    """A service, and which settings it gets beside its own address and its own schema."""

    name: str
    settings: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        """Also the name of its role and of its schema."""
        return f"trackops_{self.name}"

    def environment(self, addresses: Addresses) -> dict[str, str]:
        own = {
            "TRACKOPS_LISTEN": addresses.services[self.name],
            "TRACKOPS_HTTP_LISTEN": addresses.http[self.name],
            "TRACKOPS_DATABASE_URL": addresses.database_url(self.package),
        }
        return own | {setting: addresses.settings[setting] for setting in self.settings}


SERVICES = (
    ServiceSpec(
        "order",
        settings=(
            "TRACKOPS_REDIS_URL",
            "TRACKOPS_PAGE_TOKEN_KEY",
            "TRACKOPS_KAFKA_BOOTSTRAP_SERVERS",
            "TRACKOPS_OUTBOX_RELAY_TARGET",
        ),
    ),
    ServiceSpec(
        "saga_orchestrator",
        settings=(
            "TRACKOPS_KAFKA_BOOTSTRAP_SERVERS",
            "TRACKOPS_ORDER_TARGET",
            "TRACKOPS_INVENTORY_TARGET",
            "TRACKOPS_PAYMENT_TARGET",
            "TRACKOPS_OUTBOX_RELAY_TARGET",
        ),
    ),
    ServiceSpec("outbox_relay", settings=("TRACKOPS_KAFKA_BOOTSTRAP_SERVERS",)),
    ServiceSpec("inventory", settings=("TRACKOPS_OUTBOX_RELAY_TARGET",)),
    ServiceSpec("payment", settings=("TRACKOPS_OUTBOX_RELAY_TARGET",)),
    ServiceSpec(
        "identity",
        settings=(
            "TRACKOPS_TOKEN_SEAL_KEY",
            "TRACKOPS_KEY_ENCRYPTION_KEY",
            "TRACKOPS_DEVELOPMENT_SECRET",
            "TRACKOPS_TRUSTED_PROXIES",
            "TRACKOPS_OUTBOX_RELAY_TARGET",
        ),
    ),
)

ROLES = tuple(spec.package for spec in SERVICES)


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
        return is_serving(f"{HOST}:{self.claims()[0].port}")


def is_serving(target: str, *, timeout_seconds: float = 2) -> bool:
    """Whether the server at `target` (host:port) answers SERVING for itself as a whole."""
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=timeout_seconds)
        except grpc.RpcError:
            return False
    return bool(answer.status == HealthCheckResponse.SERVING)
