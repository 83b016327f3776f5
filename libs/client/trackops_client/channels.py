"""Channels: balanced, health-checked, kept alive, retrying what is safe to retry."""

from __future__ import annotations

import json

import grpc

from trackops_client.aio_interceptors import aio_interceptors
from trackops_client.calls import (
    AsyncTokenProvider,
    CallDefaults,
    TokenProvider,
    TraceparentProvider,
)
from trackops_client.sync_interceptor import SyncInterceptor

__all__ = ["open_aio_channel", "open_channel"]

_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}

_OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def open_channel(
    target: str,
    *,
    token: TokenProvider | None = None,
    traceparent: TraceparentProvider | None = None,
    timeout_seconds: float = 10.0,
    wait_for_ready: bool = False,
    credentials: grpc.ChannelCredentials | None = None,
) -> grpc.Channel:
    """A channel for the stubs of trackops-stubs; connects on first use. Close it after use.

    Args:
        target: host:port or any gRPC name. `dns:///order:5051` spreads the
            calls over every address of the name, as long as it is healthy.
        token: asked once for each call, whose retries share it; sent as
            `authorization: Bearer …` unless the call has its own.
        traceparent: asked once for each call; sent unless the call has its own.
        timeout_seconds: deadline, retries included, of a call without
            `timeout`. Streams of responses have none by default.
        wait_for_ready: a call waits, within its deadline, for a server that
            is away. Without, it fails with UNAVAILABLE after four attempts.
        credentials: for TLS; None is plain text.
    """
    interceptor = SyncInterceptor(CallDefaults(timeout_seconds, traceparent), token)
    options = _options(wait_for_ready=wait_for_ready)
    if credentials is None:
        channel = grpc.insecure_channel(target, options)
    else:
        channel = grpc.secure_channel(target, credentials, options)
    return grpc.intercept_channel(channel, interceptor)


def open_aio_channel(
    target: str,
    *,
    token: AsyncTokenProvider | None = None,
    traceparent: TraceparentProvider | None = None,
    timeout_seconds: float = 10.0,
    wait_for_ready: bool = False,
    credentials: grpc.ChannelCredentials | None = None,
) -> grpc.aio.Channel:
    """`open_channel` for `grpc.aio`, inside a running event loop; `token` is awaited."""
    interceptors = aio_interceptors(CallDefaults(timeout_seconds, traceparent), token)
    options = _options(wait_for_ready=wait_for_ready)
    if credentials is None:
        return grpc.aio.insecure_channel(target, options, interceptors=interceptors)
    return grpc.aio.secure_channel(target, credentials, options, interceptors=interceptors)


def _options(*, wait_for_ready: bool) -> list[tuple[str, int | str]]:
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""},
        "methodConfig": [
            {"name": [{}], "retryPolicy": _RETRY_POLICY, "waitForReady": wait_for_ready}
        ],
    }
    return [*_OPTIONS, ("grpc.service_config", json.dumps(config))]
