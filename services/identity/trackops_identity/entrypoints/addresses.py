"""Where a call came from, told by proxies that we trust and by nobody else."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from trackops_common.grpc.endpoints import Context

__all__ = ["ClientAddresses", "Network"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class ClientAddresses:
    """Reads `x-forwarded-for` from its end, as long as who wrote each entry is trusted."""

    trusted: Sequence[Network] = ()
    """The proxies' addresses; empty: the header is never believed."""

    def of(self, context: Context) -> str:
        """The caller's address, without a port; "" where there is none (a Unix socket)."""
        peer = _parsed(_peer_host(context.peer()))
        if peer is None:
            return ""
        values = [value for name, value in context.invocation_metadata() or () if name == _HEADER]
        return str(self._client(peer, ",".join(map(_text, values)).split(",")))

    def _client(self, peer: _Address, said: list[str]) -> _Address:
        """The last address that was not written by whom we do not trust."""
        seen = peer
        for entry in reversed(said):
            before = _parsed(entry)
            if before is None or not self._trusts(seen):
                break
            seen = before
        return seen

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self.trusted)


_HEADER = "x-forwarded-for"


def _peer_host(peer: str) -> str:
    """Of `ipv4:10.0.0.1:5051` or `ipv6:%5B::1%5D:5051`."""
    kind, _, place = peer.partition(":")
    return unquote(place).rpartition(":")[0] if kind in ("ipv4", "ipv6") else ""


def _parsed(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
