"""What every command about an existing order carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from trackops_common.idempotency import request_key

__all__ = ["OrderChange"]


@dataclass(frozen=True)
class OrderChange:
    """Change one order; the kind of command and the caller's `request_id` name the request."""

    principal: str
    request_id: str
    order_id: UUID
    etag: str = field(default="", kw_only=True)
    """Of the version that is to be changed; empty for whichever there is."""

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method=type(self).__name__)
