"""`trackops.relay.v1.RelayService`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from trackops.relay.v1 import relay_service_pb2 as pb

from trackops_common.grpc.endpoints import Context
from trackops_outbox_relay.application.get_checkpoint import GetCheckpoint
from trackops_outbox_relay.application.list_sources import ListSources, SourceStatus
from trackops_outbox_relay.domain.checkpoint import Checkpoint

__all__ = ["RelayServicer"]


@dataclass(frozen=True)
class RelayServicer:
    """Answers RelayService; the contract's comments say what each RPC promises."""

    get_checkpoint: GetCheckpoint
    list_sources: ListSources

    async def GetCheckpoint(
        self, request: pb.GetCheckpointRequest, _: Context
    ) -> pb.GetCheckpointResponse:
        checkpoint = await asyncio.to_thread(self.get_checkpoint, request.source)
        return pb.GetCheckpointResponse(checkpoint=_checkpoint_message(checkpoint))

    async def ListSources(
        self, _request: pb.ListSourcesRequest, _: Context
    ) -> pb.ListSourcesResponse:
        statuses = await asyncio.to_thread(self.list_sources)
        return pb.ListSourcesResponse(sources=map(_source_message, statuses))


def _checkpoint_message(checkpoint: Checkpoint) -> pb.Checkpoint:
    return pb.Checkpoint(seq=checkpoint.seq, event_id=checkpoint.event_id)


def _source_message(status: SourceStatus) -> pb.Source:
    message = pb.Source(
        name=status.name,
        checkpoint=_checkpoint_message(status.checkpoint),
        rows_behind=status.backlog.rows,
        leased_here=status.leased_here,
        refusal=str(status.refusal or ""),
    )
    if status.backlog.oldest_time is not None:
        message.oldest_unpublished_time.FromDatetime(status.backlog.oldest_time)
    return message
