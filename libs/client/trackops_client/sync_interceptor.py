"""The defaults of a call, applied on a `grpc` channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from trackops_client.calls import CallDefaults, TokenProvider, fill_request_ids
from trackops_client.versions import SeenVersions

__all__ = ["SyncInterceptor"]


@dataclass(frozen=True)
class _CallDetails(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Learning:
    """A call whose outcome is learnt from before its caller gets it, and that is otherwise itself.

    A done-callback would not do: the caller may be told first, and its next
    call may need what this one shows.
    """

    def __init__(self, call: Any, request: Any, versions: SeenVersions) -> None:
        self._call = call
        self._request = request
        self._versions = versions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def result(self, timeout: float | None = None) -> Any:
        try:
            response = self._call.result(timeout)
        except grpc.RpcError:
            self._versions.failed(self._request, self._call.code())
            raise
        self._versions.answered(self._request, response)
        return response

    def exception(self, timeout: float | None = None) -> Any:
        error = self._call.exception(timeout)
        if error is None:
            self.result()
        return error

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._call.add_done_callback(lambda _: callback(self))


class SyncInterceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """For calls of one request, which all of TrackOps' are."""

    def __init__(self, defaults: CallDefaults, token: TokenProvider | None) -> None:
        self._defaults = defaults
        self._token = token
        self._versions = SeenVersions()

    def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Any], Any],
        client_call_details: grpc.ClientCallDetails,
        request: Any,
    ) -> Any:
        fill_request_ids(request)
        timeout = self._defaults.timeout(client_call_details.timeout)
        details = self._details(client_call_details, timeout)
        call = continuation(details, self._versions.asked_for(request))
        return _Learning(call, request, self._versions) if self._versions.watches(request) else call

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
