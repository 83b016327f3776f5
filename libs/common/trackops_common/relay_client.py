"""The relay, asked how far it has published an outbox."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from trackops.relay.v1.relay_service_pb2 import GetCheckpointRequest
from trackops.relay.v1.relay_service_pb2_grpc import RelayServiceStub

from trackops_common.errors import TransientError
from trackops_common.grpc.channels import open_blocking_channel
from trackops_common.identity_client import bearer
from trackops_common.partitions import Published
from trackops_common.tls import TlsFiles

__all__ = ["published_by_relay"]

_SECONDS = 10.0


def published_by_relay(
    target: str, source: str, token: Callable[[], str], tls: TlsFiles | None = None
) -> Published:
    """How far the relay at `target` (host:port, or any gRPC name) has published a schema's outbox.

    `token` gives the access token of the call; it may block, and raise TransientError. Without
    `tls` the relay is asked in plain text.

    Raises:
        TransientError: it does not answer, or not with a checkpoint.
    """
    metadata = bearer(token())
    with open_blocking_channel(target, tls) as channel:
        try:
            answer = RelayServiceStub(channel).GetCheckpoint(
                GetCheckpointRequest(source=source), timeout=_SECONDS, metadata=metadata
            )
        except grpc.RpcError as error:
            raise TransientError(f"the relay does not tell its checkpoint: {error}") from error
    return Published(
        answer.checkpoint.seq, answer.checkpoint.event_id, answer.lowest_quarantined_seq
    )
