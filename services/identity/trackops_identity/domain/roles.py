"""What an account or a client may do, by name."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Role"]


class Role(StrEnum):
    """docs/authorization.md says which RPCs each may call."""

    CUSTOMER = "CUSTOMER"
    SUPPORT = "SUPPORT"
    OPERATOR = "OPERATOR"
    SERVICE = "SERVICE"
    ADMIN = "ADMIN"
