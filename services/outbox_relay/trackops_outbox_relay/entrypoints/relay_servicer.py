"""`trackops.relay.v1.RelayService`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC

from trackops.relay.v1 import relay_service_pb2 as pb

from trackops_common.auth import principal_of
from trackops_common.grpc.endpoints import Context
from trackops_outbox_relay.application.get_checkpoint import GetCheckpoint
from trackops_outbox_relay.application.list_events import ListEvents
from trackops_outbox_relay.application.list_operations import ListOperations
from trackops_outbox_relay.application.list_quarantine import ListQuarantine
from trackops_outbox_relay.application.list_sources import ListSources
from trackops_outbox_relay.application.order_operation import OrderOperation
from trackops_outbox_relay.application.plan_rebase import PlanRebase
from trackops_outbox_relay.domain.operations import Operation
from trackops_outbox_relay.entrypoints import messages

__all__ = ["RelayServicer"]

_PAGE_SIZE = 100
_WAIT_SECONDS = 30.0
_BEFORE_THE_DEADLINE_SECONDS = 0.2


@dataclass(frozen=True)
class RelayServicer:
    """Answers RelayService; the contract's comments say what each RPC promises."""

    get_checkpoint: GetCheckpoint
    list_sources: ListSources
    list_quarantine: ListQuarantine
    list_events: ListEvents
    list_operations: ListOperations
    plan_rebase: PlanRebase
    order_operation: OrderOperation

    async def GetCheckpoint(
        self, request: pb.GetCheckpointRequest, _: Context
    ) -> pb.GetCheckpointResponse:
        standing = await asyncio.to_thread(self.get_checkpoint, request.source)
        return pb.GetCheckpointResponse(
            checkpoint=messages.checkpoint(standing.checkpoint),
            lowest_quarantined_seq=standing.lowest_quarantined_seq,
        )

    async def ListSources(
        self, _request: pb.ListSourcesRequest, _: Context
    ) -> pb.ListSourcesResponse:
        statuses = await asyncio.to_thread(self.list_sources)
        return pb.ListSourcesResponse(sources=map(messages.source, statuses))

    async def ListQuarantine(
        self, request: pb.ListQuarantineRequest, _: Context
    ) -> pb.ListQuarantineResponse:
        limit = request.page_size or _PAGE_SIZE
        keys = await asyncio.to_thread(
            self.list_quarantine,
            request.source,
            after_seq=int(request.page_token or 0),
            limit=limit + 1,
        )
        return pb.ListQuarantineResponse(
            keys=map(messages.waiting_key, keys[:limit]),
            next_page_token=str(keys[limit - 1].entry.first_seq) if len(keys) > limit else "",
        )

    async def ReplayQuarantine(
        self, request: pb.ReplayQuarantineRequest, context: Context
    ) -> pb.ReplayQuarantineResponse:
        outcome = await self._order(messages.replay(request, principal_of(context)), context)
        return messages.replayed(outcome, request.key)

    async def DiscardQuarantine(
        self, request: pb.DiscardQuarantineRequest, context: Context
    ) -> pb.DiscardQuarantineResponse:
        outcome = await self._order(messages.discard(request, principal_of(context)), context)
        return messages.discarded(outcome, request.key)

    async def PlanRebase(self, request: pb.PlanRebaseRequest, _: Context) -> pb.PlanRebaseResponse:
        plan = await asyncio.to_thread(self.plan_rebase, request.source)
        found = await asyncio.to_thread(self.plan_rebase.checkpoints.found, request.source)
        return pb.PlanRebaseResponse(
            plan=messages.plan(plan), current_checkpoint=messages.checkpoint(found.checkpoint)
        )

    async def Rebase(self, request: pb.RebaseRequest, context: Context) -> pb.RebaseResponse:
        outcome = await self._order(messages.rebase(request, principal_of(context)), context)
        return messages.rebased(outcome)

    async def ListEvents(self, request: pb.ListEventsRequest, _: Context) -> pb.ListEventsResponse:
        since = request.since.ToDatetime(tzinfo=UTC) if request.HasField("since") else None
        events = await asyncio.to_thread(
            self.list_events, request.key, since=since, locate=request.locate
        )
        return pb.ListEventsResponse(events=map(messages.event, events))

    async def ListOperations(
        self, request: pb.ListOperationsRequest, _: Context
    ) -> pb.ListOperationsResponse:
        limit = request.page_size or _PAGE_SIZE
        records = await asyncio.to_thread(
            self.list_operations,
            request.source,
            before=int(request.page_token or 0),
            limit=limit + 1,
        )
        return pb.ListOperationsResponse(
            operations=map(messages.operation, records[:limit]),
            next_page_token=str(records[limit - 1].number) if len(records) > limit else "",
        )

    async def _order(self, operation: Operation, context: Context) -> str:
        left = context.time_remaining()
        wait = _WAIT_SECONDS if left is None else left - _BEFORE_THE_DEADLINE_SECONDS
        return await asyncio.to_thread(self.order_operation, operation, wait_seconds=wait)
