"""The defaults of a call, applied on a `grpc.aio` channel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from trackops_client.calls import AsyncTokenProvider, CallDefaults, fill_request_ids
from trackops_client.versions import SeenVersions

__all__ = ["aio_interceptors"]


def aio_interceptors(
    defaults: CallDefaults, token: AsyncTokenProvider | None
) -> list[grpc.aio.ClientInterceptor]:
    """One for each kind of call: `grpc.aio` takes an object for one kind only."""
    return [_UnaryUnary(defaults, token, SeenVersions()), _UnaryStream(defaults, token)]


class _Interceptor:
    def __init__(self, defaults: CallDefaults, token: AsyncTokenProvider | None) -> None:
        self._defaults = defaults
        self._token = token

    async def _details(
        self, own: grpc.aio.ClientCallDetails, timeout_seconds: float | None
    ) -> grpc.aio.ClientCallDetails:
        token = await self._token() if self._token else None
        return grpc.aio.ClientCallDetails(
            own.method,
            timeout_seconds,
            grpc.aio.Metadata(*self._defaults.metadata(own.metadata, token)),
            own.credentials,
            own.wait_for_ready,
        )


class _UnaryUnary(_Interceptor, grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(
        self, defaults: CallDefaults, token: AsyncTokenProvider | None, versions: SeenVersions
    ) -> None:
        super().__init__(defaults, token)
        self._versions = versions

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        fill_request_ids(request)
        timeout = self._defaults.timeout(client_call_details.timeout)
        details = await self._details(client_call_details, timeout)
        call = await continuation(details, self._versions.asked_for(request))
        if self._versions.watches(request):
            await self._learn(request, call)
        return call

    async def _learn(self, request: Any, call: Any) -> None:
        """Before the caller can: its next call may need what this one shows."""
        try:
            self._versions.answered(request, await call)
        except grpc.aio.AioRpcError as error:
            self._versions.failed(request, error.code())


class _UnaryStream(_Interceptor, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        fill_request_ids(request)
        details = await self._details(client_call_details, client_call_details.timeout)
        return await continuation(details, request)
