"""What differs from one edge to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trackops_edge.contract import SERVICES

__all__ = ["Address", "EdgeSettings", "Limits", "Rate", "ServicesTls"]


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From host:port; raises ValueError."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ValueError(f"{text!r} is not host:port")
        return cls(host, int(port))

    @classmethod
    def parse_all(cls, text: str) -> Sequence[Address]:
        """From host:port, or several with commas between them; raises ValueError."""
        return [cls.parse(one) for one in text.split(",")]


@dataclass(frozen=True)
class Rate:
    """Requests: so many at once, and from then on so many each second."""

    burst: int
    per_second: int


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What callers may take. Each Envoy counts by itself: three let in three times as much."""

    per_client: Rate = Rate(burst=100, per_second=50)
    """Of one IPv4 address, or one IPv6 /64."""
    together: Rate = Rate(burst=2000, per_second=1000)
    creations: int = 128
    """Orders that may be in the making; one more is refused at once. What the order service would
    accept late, or refuse itself at a greater cost, stays out while it has enough to do."""
    clients: int = 10_000
    """How many callers are told apart; the least recently seen starts anew."""
    request_bytes: int = 1024 * 1024
    """Of a body."""
    response_bytes: int = 16 * 1024 * 1024
    """Of a body that is not a stream."""
    header_kibibytes: int = 16
    headers: int = 64
    connections: int = 10_000
    call_seconds: int = 10
    """For an RPC that answers once."""
    idle_seconds: int = 60
    """For a request on which nothing moves, other than a stream's."""
    watch_seconds: int = 3600
    """For a stream; then it ends, and its caller resumes it."""


@dataclass(frozen=True, kw_only=True)
class ServicesTls:
    """Mutual TLS to the services; PEM files, read again when their folders change."""

    certificate: Path
    """The edge's own as a caller, and what leads to its CA."""
    private_key: Path
    authority: Path
    """Who vouches for the services; each certificate has to name the host that is called."""


@dataclass(frozen=True, kw_only=True)
class EdgeSettings:
    """Raises ValueError where a service has no address, or addresses of several hosts."""

    folder: Path
    """Where Envoy finds the files that `write` makes."""
    certificate: Path
    """PEM, the certificate and what leads to its CA; read again when its folder changes."""
    private_key: Path
    """PEM."""
    listen: Address
    """HTTPS."""
    listen_http: Address
    """Probes and metrics, for the inside."""
    services: Mapping[str, Sequence[Address]]
    """gRPC, by the names of `contract.SERVICES`. Replicas are found by the host's name, or have
    ports of their own on one host: its certificates name it."""
    identity_http: Address
    """Serves `/.well-known/jwks.json`."""
    services_tls: ServicesTls | None = None
    """None: the services speak gRPC without TLS. `identity_http` is never asked with TLS."""
    issuer: str = "trackops"
    audience: str = "trackops"
    key_seconds: int = 60
    """How often the keys are asked for; less than identity announces a key before it signs."""
    trusted_hops: int = 0
    """Proxies in front of the edge whose entries in x-forwarded-for are believed."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if missing := [name for name in SERVICES if name not in self.services]:
            raise ValueError(f"no address of {', '.join(missing)}")
        for name, addresses in self.services.items():
            if len({one.host for one in addresses}) != 1:
                raise ValueError(f"the addresses of {name} are not those of one host")
