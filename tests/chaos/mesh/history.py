"""What clients did and what they were told: the only witness that is no part of the mesh."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

import grpc

__all__ = ["Call", "History", "Outcome", "outcome_of", "outcome_of_http"]


class Outcome(StrEnum):
    """What a client knows of a call that is over."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """It has no effect, now or later."""
    UNKNOWN = "unknown"
    """It may have taken effect, or may yet do so."""


_UNKNOWN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAUTHENTICATED,
}
"""An answer, too, may come from one attempt while another one is still on its way."""


def outcome_of(code: grpc.StatusCode) -> Outcome:
    """What a status means to a client that may have sent the request more than once."""
    if code is grpc.StatusCode.OK:
        return Outcome.ACKNOWLEDGED
    return Outcome.UNKNOWN if code in _UNKNOWN else Outcome.REFUSED


_UNKNOWN_IN_HTTP = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    499,  # the caller went away: CANCELLED
}


def outcome_of_http(status: int) -> Outcome:
    """The same of an answer over REST; 0 is none, or half of one."""
    if 200 <= status < 300:
        return Outcome.ACKNOWLEDGED
    refused = 400 <= status < 500 and status not in _UNKNOWN_IN_HTTP
    return Outcome.REFUSED if refused else Outcome.UNKNOWN


@dataclass(frozen=True, slots=True)
class Call:
    """One call and its end."""

    kind: str
    """`create`, `create other body`, `cancel`, `ship`, `deliver`, `return`, `read`, `turn back`."""
    request_id: str
    """Empty for a read."""
    order_id: str
    """Empty for a creation that was not acknowledged."""
    principal: str
    outcome: Outcome
    code: str
    """Of gRPC, such as UNAVAILABLE, or over REST, such as `HTTP 503`."""
    reason: str
    began: float
    """Seconds since 1970."""
    ended: float
    version: int = 0
    """Of the order in the answer; 0 where there was none."""
    state: str = ""
    """Likewise, such as CONFIRMED."""
    pieces: Mapping[str, int] = field(default_factory=dict)
    """Asked for, by sku: of an order, of a shipment, of a return."""

    def __str__(self) -> str:
        what = f"{self.kind} {self.request_id} {dict(self.pieces) or ''}".rstrip()
        came = f"{self.outcome} {self.code} {self.reason}".rstrip()
        seen = f" → v{self.version} {self.state}" if self.version else ""
        return f"{self.began:.3f}…{self.ended:.3f} {what}: {came}{seen}"


class History:
    """Every call, in the order in which they ended."""

    def __init__(self, calls: Sequence[Call] = ()) -> None:
        self.calls = list(calls)

    def note(self, call: Call) -> None:
        """Keep one more."""
        self.calls.append(call)

    def of(self, kind: str, outcome: Outcome | None = None) -> list[Call]:
        """Those of a kind, and with an outcome if one is named."""
        return [one for one in self.calls if one.kind == kind and outcome in (None, one.outcome)]

    def by_order(self) -> Mapping[str, list[Call]]:
        """Those about an order, and those that may have made it."""
        order_of = {
            one.request_id: one.order_id
            for one in self.calls
            if one.kind == "create" and one.order_id
        }
        found: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            found[call.order_id or order_of.get(call.request_id, call.request_id)].append(call)
        return found
