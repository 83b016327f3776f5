"""Channels to other services: balanced, health-checked, retrying what is safe to retry."""

from __future__ import annotations

import json

import grpc

__all__ = ["open_channel"]

_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}

_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""},
        "methodConfig": [{"name": [{}], "retryPolicy": _RETRY_POLICY}],
    }
)

_OPTIONS = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def open_channel(target: str) -> grpc.aio.Channel:
    """A channel to `target` (host:port, or any gRPC name); connects on first use.

    A call to a server that is away fails with UNAVAILABLE after a few tries.
    """
    return grpc.aio.insecure_channel(target, options=_OPTIONS)
