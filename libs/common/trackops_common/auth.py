"""Who calls.

Until callers authenticate themselves, every call is made by one principal.
"""

from __future__ import annotations

from dataclasses import dataclass

from trackops_common.grpc.endpoints import Context

__all__ = ["Principal", "principal_of"]


@dataclass(frozen=True, slots=True)
class Principal:
    """The party on whose behalf a call is made; its requests have a namespace of their own."""

    name: str
    """The token's subject: a user's id, or `client:` and a program's."""
    roles: frozenset[str] = frozenset()
    """In lower case, such as "customer"."""
    session_id: str = ""
    """Empty for programs."""


_ANYONE = Principal("anyone")


def principal_of(context: Context) -> Principal:
    """The principal of a call."""
    del context
    return _ANYONE
