"""The order service as REST has it: through the edge, in JSON, refusals as problem details."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
from google.protobuf.json_format import MessageToDict, Parse
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from trackops_cli.local.edge import Edge
from trackops_client.versions import SeenVersions
from trackops_edge.contract import EdgeRpc, edge_rpcs

__all__ = ["RestError", "RestOrders", "open_rest"]

_RPCS = {rpc.method.name: rpc for rpc in edge_rpcs() if rpc.service == "order"}
_CONNECTIONS = httpx.Limits(max_connections=100, max_keepalive_connections=20)


class RestError(Exception):
    """A call that did not succeed."""

    def __init__(self, status: int, reason: str) -> None:
        """`status` is 0 where there was no answer, or half of one; `reason` then says more."""
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


class RestOrders:
    """Is called as the stub of the order service: `await orders.GetOrder(request, timeout=3)`.

    Raises RestError. As the client package does, it reads no version older than its changes.
    """

    def __init__(self, client: httpx.AsyncClient, token: Callable[[], Awaitable[str]]) -> None:
        self._client = client
        self._token = token
        self._versions = SeenVersions()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return partial(self._call, _RPCS[name])

    async def _call(
        self,
        rpc: EdgeRpc,
        request: Message,
        timeout: float,  # noqa: ASYNC109 - as a stub has it
    ) -> Message:
        try:
            response = await self._sent(rpc, self._versions.asked_for(request), timeout)
        except httpx.TransportError as error:
            raise RestError(0, type(error).__name__) from error
        if not response.is_success:
            raise RestError(response.status_code, _reason(response))
        answer = Parse(response.content, GetMessageClass(rpc.method.output_type)())
        self._versions.answered(request, answer)
        return answer

    async def _sent(self, rpc: EdgeRpc, request: Message, seconds: float) -> httpx.Response:
        """`seconds` for each: to connect, to send, to wait for a part of the answer."""
        fields = MessageToDict(request, preserving_proto_field_name=True)
        path = rpc.template
        for name in [name for name in fields if f"{{{name}}}" in path]:
            path = path.replace(f"{{{name}}}", fields.pop(name))
        reads = rpc.verb == "GET"
        return await self._client.request(
            rpc.verb,
            path,
            params=fields if reads else None,
            json=None if reads else fields,
            headers={"authorization": f"Bearer {await self._token()}"},
            timeout=seconds,
        )


@asynccontextmanager
async def open_rest(edge: Edge, token: Callable[[], Awaitable[str]]) -> AsyncIterator[RestOrders]:
    """For the edge's own certificate, whoever is behind it."""
    trust = ssl.create_default_context(cafile=str(edge.certificate.authority))
    async with httpx.AsyncClient(
        base_url=edge.url,
        verify=trust,
        limits=_CONNECTIONS,
        trust_env=False,
    ) as client:
        yield RestOrders(client, token)


def _reason(response: httpx.Response) -> str:
    """That of the problem; empty where it has none."""
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        return str(response.json().get("reason", ""))
    return ""
