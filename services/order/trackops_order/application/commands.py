"""What every command about an existing order carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from trackops_common.idempotency import request_key
from trackops_common.tracing import current_traceparent

__all__ = ["OrderChange"]


@dataclass(frozen=True)
class OrderChange:
    """Change one order; the kind of command and the caller's `request_id` name the request."""

    principal: str
    request_id: str
    order_id: UUID
    etag: str = field(default="", kw_only=True)
    """Of the version that is to be changed; empty for whichever there is."""
    owner: str = field(default="", kw_only=True, compare=False)
    """The customer whose orders alone may be changed; empty: anybody's. No part of what is asked.
    """
    traceparent: str = field(default_factory=current_traceparent, kw_only=True, compare=False)
    """Of the call; no part of what is asked."""

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method=type(self).__name__)
