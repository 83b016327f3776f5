"""A request that is repeated gets the response of the first time (AIP-155).

Key, effect and response commit together. The aggregate's own row is the guard
against doing a thing twice: its primary key for creation, its row lock for any
other mutation. The stored requests only remember what was answered, so they
need no global unique index and can be partitioned by day.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from trackops_common.errors import RequestIdReused

__all__ = [
    "IdempotentCommand",
    "JsonValue",
    "RequestLedger",
    "RequestStore",
    "StoredRequest",
    "fingerprint",
    "request_key",
]

JsonValue = str | int | bool | None | Sequence["JsonValue"] | Mapping[str, "JsonValue"]

_NAMESPACE = uuid.UUID("0d9a4a1e-7a55-5c8e-9b1c-6f2b1d4c7a10")


def request_key(principal: str, request_id: str, *, method: str = "") -> uuid.UUID:
    """The UUIDv5 under which a request is remembered.

    Without `method` it is also the id of the aggregate that the request
    creates; with it, the same `request_id` may be used once for each method.
    """
    return uuid.uuid5(_NAMESPACE, f"{principal}\n{method}\n{request_id.lower()}")


def fingerprint(command: JsonValue) -> bytes:
    """16 bytes that differ when the parsed, normalised command differs; maps count as sorted."""
    canonical = json.dumps(command, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(canonical.encode(), digest_size=16).digest()


class IdempotentCommand(Protocol):
    """A command that may arrive more than once."""

    @property
    def request_id(self) -> str: ...
    @property
    def request_key(self) -> uuid.UUID: ...
    @property
    def request_hash(self) -> bytes: ...


C = TypeVar("C", bound=IdempotentCommand)
Refusal = TypeVar("Refusal", bound=Exception)


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """What was asked under a key, as a hash, and the encoded response it got."""

    request_key: uuid.UUID
    request_hash: bytes
    response: bytes


class RequestStore(Protocol):
    """Remembers requests, within the caller's transaction."""

    def find(self, keys: Iterable[uuid.UUID]) -> Sequence[StoredRequest]:
        """The stored requests among `keys`."""
        ...

    def save(self, requests: Sequence[StoredRequest]) -> None:
        """Remember `requests` if the transaction commits."""
        ...


class RequestLedger:
    """The requests of one batch: those answered before, and those answered now.

    Equal commands within a batch are merged, since what `record` remembers is
    what `replay` finds.
    """

    def __init__(self, stored: Iterable[StoredRequest] = ()) -> None:
        self._known = {request.request_key: request for request in stored}
        self.new: list[StoredRequest] = []

    def replay(self, command: IdempotentCommand) -> bytes | RequestIdReused | None:
        """The response given before, the error for another body, or None for a new request."""
        known = self._known.get(command.request_key)
        if known is None:
            return None
        if known.request_hash != command.request_hash:
            return RequestIdReused(command.request_id)
        return known.response

    def record(self, command: IdempotentCommand, response: bytes) -> bytes:
        """Remember `response`, to be saved with the effect; returns it."""
        request = StoredRequest(command.request_key, command.request_hash, response)
        self._known[command.request_key] = request
        self.new.append(request)
        return response

    def answer(
        self, command: C, change: Callable[[C], bytes], refusals: type[Refusal]
    ) -> bytes | Refusal | RequestIdReused:
        """The response given before, or the one that `change` gives now, remembered.

        An error of type `refusals` that `change` raises is the answer too, and
        is not remembered: a refused command leaves nothing behind.
        """
        if (known := self.replay(command)) is not None:
            return known
        try:
            response = change(command)
        except refusals as refusal:
            return refusal
        return self.record(command, response)
