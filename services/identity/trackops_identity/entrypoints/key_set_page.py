"""`/.well-known/jwks.json`: the keys that verify, for whoever checks tokens without gRPC."""

from __future__ import annotations

from http import HTTPStatus

from trackops_common.bounded_calls import BoundedCalls
from trackops_common.http_endpoint import Asked, Page, Reply

__all__ = ["KEY_SET_PATH", "key_set_page"]

KEY_SET_PATH = "/.well-known/jwks.json"
_MAX_AGE_SECONDS = 300
"""Shorter than the time for which a key is announced before it signs."""


def key_set_page(key_set: BoundedCalls[None, str]) -> Page:
    """The page; `key_set` answers a JSON Web Key Set."""

    async def page(_: Asked) -> Reply:
        body = (await key_set.submit(None)).encode()
        return Reply(HTTPStatus.OK, body, "application/jwk-set+json", _MAX_AGE_SECONDS)

    return page
