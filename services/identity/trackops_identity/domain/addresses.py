"""Whom failures from an address count against."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

__all__ = ["neighbourhood"]


def neighbourhood(address: str) -> str:
    """An address as it stands, or the /64 of an IPv6 one: any caller has a whole one to itself."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, 64), strict=False))
    return address
