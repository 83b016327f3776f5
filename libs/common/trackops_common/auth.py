"""Who calls, and what of it is theirs.

A server admits a call before its handler runs (`trackops_common.grpc.admission`);
what it learned then is current for the rest of the call's asyncio task.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from trackops_common.errors import PermissionDenied
from trackops_common.permissions import Permission

if TYPE_CHECKING:
    from trackops_common.grpc.endpoints import Context

__all__ = ["ANYONE", "Caller", "Principal", "caller", "enter_call", "expect_own", "principal_of"]


@dataclass(frozen=True, slots=True)
class Principal:
    """The party on whose behalf a call is made; its requests have a namespace of their own."""

    name: str
    """The token's subject: a user's id, or `client:` and a program's."""
    roles: frozenset[str] = frozenset()
    """In lower case, such as "customer"."""
    session_id: str = ""
    """Empty for programs."""
    expire_time: datetime | None = field(default=None, compare=False)
    """From when on its token is not good any more, the clocks' difference allowed for; None for
    those who have none."""


ANYONE = Principal("anyone")
"""Whoever calls an RPC that is public."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes the current call, and how far its permission reaches."""

    principal: Principal
    permission: Permission | None = None
    """None: the RPC is public."""
    own_only: bool = False
    """Whether it has the permission for its own resources only."""

    @property
    def owner(self) -> str:
        """Whose resources alone the call may touch: the caller's name; empty: anybody's."""
        return self.principal.name if self.own_only else ""


_current: ContextVar[Caller] = ContextVar("caller")


def enter_call(admitted: Caller) -> None:
    """Make `admitted` the current caller, for the rest of the asyncio task."""
    _current.set(admitted)


def caller() -> Caller:
    """Who makes the call that this code runs for.

    Raises:
        LookupError: it runs for none.
    """
    return _current.get()


def principal_of(context: Context) -> Principal:
    """The principal of a call, in the task of its handler."""
    del context
    return caller().principal


def expect_own(owner: str) -> None:
    """Refuse a call that names an `owner` of resources whose resources it may not touch.

    Raises:
        PermissionDenied: the caller may have to do with its own only, and is somebody else.
    """
    current = caller()
    if current.own_only and current.permission and owner != current.principal.name:
        raise PermissionDenied(current.permission)
