"""The defaults of a call, applied on a `grpc` channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from trackops_client.calls import CallDefaults, TokenProvider, fill_request_ids

__all__ = ["SyncInterceptor"]


@dataclass(frozen=True)
class _CallDetails(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class SyncInterceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """For calls of one request, which all of TrackOps' are."""

    def __init__(self, defaults: CallDefaults, token: TokenProvider | None) -> None:
        self._defaults = defaults
        self._token = token

    def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Any], Any],
        client_call_details: grpc.ClientCallDetails,
        request: Any,
    ) -> Any:
        fill_request_ids(request)
        timeout = self._defaults.timeout(client_call_details.timeout)
        return continuation(self._details(client_call_details, timeout), request)

    def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Any], Any],
        client_call_details: grpc.ClientCallDetails,
        request: Any,
    ) -> Any:
        fill_request_ids(request)
        details = self._details(client_call_details, client_call_details.timeout)
        return continuation(details, request)

    def _details(self, own: grpc.ClientCallDetails, timeout: float | None) -> _CallDetails:
        token = self._token() if self._token else None
        return _CallDetails(
            own.method,
            timeout,
            tuple(self._defaults.metadata(own.metadata, token)),
            own.credentials,
            own.wait_for_ready,
            own.compression,
        )
