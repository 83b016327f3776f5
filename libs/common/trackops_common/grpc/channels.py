"""Channels to other services: balanced, health-checked, retrying what is safe to retry."""

from __future__ import annotations

import json

import grpc

from trackops_common.grpc.credentials import channel_credentials
from trackops_common.grpc.renewed_channel import RenewedChannel
from trackops_common.tls import TlsFiles, TlsMaterial
from trackops_common.traces import client_interceptors

__all__ = ["open_blocking_channel", "open_channel"]

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


def open_channel(target: str, tls: TlsFiles | None = None) -> grpc.aio.Channel:
    """A channel to `target` (host:port, or any gRPC name); connects on first use.

    A call to a server that is away fails with UNAVAILABLE after a few tries. With `tls` both sides
    show certificates, the server's for the name in `target`; where the files have changed, new
    calls use the new ones and those in flight go on. Without, it is plain text. Calls carry
    the current trace.
    """
    if tls is None:
        return grpc.aio.insecure_channel(
            target, options=_OPTIONS, interceptors=client_interceptors()
        )

    def connect(material: TlsMaterial) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            target,
            channel_credentials(material),
            options=_OPTIONS,
            interceptors=client_interceptors(),
        )

    return RenewedChannel(tls, connect)


def open_blocking_channel(target: str, tls: TlsFiles | None = None) -> grpc.Channel:
    """A channel for a question that is asked once in a while, to be closed after it.

    So it always has today's certificate; without `tls` it is plain text.
    """
    options = [("grpc.enable_http_proxy", 0)]
    if tls is None:
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, channel_credentials(tls.current), options)
