"""Which role may do what: the one table.

The contracts name a permission for each RPC (`trackops.common.v1.authorization`);
here stands who has it. docs/authorization.md shows the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache

__all__ = ["GRANTS", "Permission", "Role", "Scope", "scope_of"]


class Role(StrEnum):
    """As access tokens name it."""

    CUSTOMER = "customer"
    SUPPORT = "support"
    OPERATOR = "operator"
    SERVICE = "service"
    ADMIN = "admin"


class Permission(StrEnum):
    """As the contracts name it."""

    ORDERS_CREATE = "orders.create"
    ORDERS_READ = "orders.read"
    ORDERS_CANCEL = "orders.cancel"
    ORDERS_FULFIL = "orders.fulfil"
    ORDERS_RETURN = "orders.return"
    ORDERS_OPERATE = "orders.operate"
    ORDERS_SETTLE = "orders.settle"
    STOCK_READ = "stock.read"
    STOCK_ADJUST = "stock.adjust"
    STOCK_MOVE = "stock.move"
    PAYMENTS_READ = "payments.read"
    PAYMENTS_MOVE = "payments.move"
    SAGAS_READ = "sagas.read"
    SAGAS_OPERATE = "sagas.operate"
    OUTBOX_CHECKPOINT = "outbox.checkpoint"
    OUTBOX_READ = "outbox.read"
    OUTBOX_OPERATE = "outbox.operate"
    SERVICE_READ = "service.read"
    SERVICE_OPERATE = "service.operate"
    SESSIONS_READ = "sessions.read"
    SESSIONS_REVOKE = "sessions.revoke"
    USERS_PASSWORD = "users.password"  # noqa: S105 - the name of a permission
    USERS_READ = "users.read"
    USERS_ROLES = "users.roles"
    CLIENTS_WRITE = "clients.write"
    KEYS_ROTATE = "keys.rotate"


class Scope(StrEnum):
    """How far a permission reaches."""

    OWN = "own"
    """What belongs to the caller: orders whose customer, or the account whose user, it is."""
    ALL = "all"


Grants = Mapping[Permission, Scope]


def _own(*permissions: Permission) -> Grants:
    return dict.fromkeys(permissions, Scope.OWN)


def _all(*permissions: Permission) -> Grants:
    return dict.fromkeys(permissions, Scope.ALL)


_ACCOUNT = _own(
    Permission.SESSIONS_READ,
    Permission.SESSIONS_REVOKE,
    Permission.USERS_PASSWORD,
    Permission.USERS_READ,
)

GRANTS: Mapping[str, Grants] = {
    Role.CUSTOMER: {
        **_ACCOUNT,
        **_own(Permission.ORDERS_CREATE, Permission.ORDERS_READ, Permission.ORDERS_CANCEL),
    },
    Role.SUPPORT: {
        **_ACCOUNT,
        **_all(
            Permission.ORDERS_READ,
            Permission.ORDERS_CANCEL,
            Permission.STOCK_READ,
            Permission.PAYMENTS_READ,
            Permission.SAGAS_READ,
        ),
    },
    Role.OPERATOR: {
        **_ACCOUNT,
        **_all(
            Permission.ORDERS_READ,
            Permission.ORDERS_CANCEL,
            Permission.ORDERS_FULFIL,
            Permission.ORDERS_RETURN,
            Permission.ORDERS_OPERATE,
            Permission.STOCK_READ,
            Permission.STOCK_ADJUST,
            Permission.PAYMENTS_READ,
            Permission.SAGAS_READ,
            Permission.SAGAS_OPERATE,
            Permission.OUTBOX_CHECKPOINT,
            Permission.OUTBOX_READ,
            Permission.OUTBOX_OPERATE,
            Permission.SERVICE_READ,
            Permission.SERVICE_OPERATE,
        ),
    },
    Role.SERVICE: _all(
        Permission.ORDERS_CREATE,
        Permission.ORDERS_READ,
        Permission.ORDERS_CANCEL,
        Permission.ORDERS_SETTLE,
        Permission.STOCK_READ,
        Permission.STOCK_MOVE,
        Permission.PAYMENTS_READ,
        Permission.PAYMENTS_MOVE,
        Permission.OUTBOX_CHECKPOINT,
    ),
    Role.ADMIN: _all(*Permission),
}


@lru_cache(maxsize=1024)
def scope_of(roles: frozenset[str], permission: Permission) -> Scope | None:
    """How far a caller of these roles has a permission: as far as any of them; None: not at all.

    Roles that are not in the table give nothing.
    """
    scopes = {GRANTS[role].get(permission) for role in roles if role in GRANTS}
    return Scope.ALL if Scope.ALL in scopes else Scope.OWN if Scope.OWN in scopes else None
