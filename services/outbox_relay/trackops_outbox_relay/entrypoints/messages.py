"""The relay's messages, from and to what its use cases know."""

from __future__ import annotations

import json
from typing import Any

from trackops.relay.v1 import relay_service_pb2 as pb

from trackops_common.auth import Principal
from trackops_common.idempotency import request_key
from trackops_outbox_relay.application.list_events import KeyEvent
from trackops_outbox_relay.application.list_quarantine import WaitingKey
from trackops_outbox_relay.application.list_sources import SourceStatus
from trackops_outbox_relay.domain.checkpoint import Checkpoint
from trackops_outbox_relay.domain.operations import Operation, OperationKind, OperationRecord
from trackops_outbox_relay.domain.rebase import RebasePlan

__all__ = [
    "checkpoint",
    "discard",
    "discarded",
    "event",
    "operation",
    "plan",
    "rebase",
    "rebased",
    "replay",
    "replayed",
    "source",
    "waiting_key",
]


def checkpoint(one: Checkpoint) -> pb.Checkpoint:
    return pb.Checkpoint(seq=one.seq, event_id=one.event_id)


def source(status: SourceStatus) -> pb.Source:
    message = pb.Source(
        name=status.name,
        checkpoint=checkpoint(status.standing.checkpoint),
        rows_behind=status.backlog.rows,
        leased_here=status.leased_here,
        refusal=str(status.refusal or ""),
        quarantined_keys=len(status.standing.quarantine),
    )
    if status.backlog.oldest_time is not None:
        message.oldest_unpublished_time.FromDatetime(status.backlog.oldest_time)
    return message


def waiting_key(one: WaitingKey) -> pb.QuarantinedKey:
    message = pb.QuarantinedKey(
        key=one.entry.key,
        reason=_reason(one.entry.fault.reason),
        detail=one.entry.fault.detail,
        first_seq=one.entry.first_seq,
        last_seq=one.waiting.last_seq,
        rows=one.waiting.rows,
    )
    message.quarantine_time.FromDatetime(one.entry.time)
    return message


def event(one: KeyEvent) -> pb.Event:
    row = one.row
    message = pb.Event(
        source=one.source,
        seq=row.seq,
        event_id=row.event_id,
        type=row.type,
        aggregate_version=row.aggregate_version,
        traceparent=row.traceparent,
        state=pb.EventState.Value(f"EVENT_STATE_{one.state}"),
        topic=row.topic,
    )
    message.occur_time.FromJsonString(row.occurred_at)
    if one.place is not None:
        message.partition, message.offset = one.place.partition, one.place.offset
    return message


def replay(request: pb.ReplayQuarantineRequest, principal: Principal) -> Operation:
    return Operation(
        operation_id=_operation_id(principal, request.request_id, OperationKind.REPLAY),
        source=request.source,
        kind=OperationKind.REPLAY,
        key=request.key,
        reason=request.reason,
        principal=principal.name,
    )


def discard(request: pb.DiscardQuarantineRequest, principal: Principal) -> Operation:
    return Operation(
        operation_id=_operation_id(principal, request.request_id, OperationKind.DISCARD),
        source=request.source,
        kind=OperationKind.DISCARD,
        key=request.key,
        through_seq=request.through_seq,
        reason=request.reason,
        principal=principal.name,
    )


def rebase(request: pb.RebaseRequest, principal: Principal) -> Operation:
    return Operation(
        operation_id=_operation_id(principal, request.request_id, OperationKind.REBASE),
        source=request.source,
        kind=OperationKind.REBASE,
        digest=request.digest,
        reason=request.reason,
        principal=principal.name,
    )


def replayed(outcome: str, key: str) -> pb.ReplayQuarantineResponse:
    told = json.loads(outcome)
    return pb.ReplayQuarantineResponse(
        published_rows=told["published_rows"], remaining=_remaining(told, key)
    )


def discarded(outcome: str, key: str) -> pb.DiscardQuarantineResponse:
    told = json.loads(outcome)
    return pb.DiscardQuarantineResponse(
        discarded_rows=told["discarded_rows"],
        published_rows=told["published_rows"],
        remaining=_remaining(told, key),
    )


def rebased(outcome: str) -> pb.RebaseResponse:
    told = json.loads(outcome)
    return pb.RebaseResponse(checkpoint=checkpoint(Checkpoint(told["seq"], told["event_id"])))


def plan(one: RebasePlan) -> pb.RebasePlan:
    return pb.RebasePlan(
        checkpoint=checkpoint(one.checkpoint),
        rows_to_publish=one.rows_to_publish,
        rows_in_log=one.rows_in_log,
        rows_passed_over=one.rows_passed_over,
        keys_to_quarantine=one.keys_to_quarantine,
        events_not_in_outbox=one.events_not_in_outbox,
        first_event_not_in_outbox=one.first_event_not_in_outbox,
        last_event_not_in_outbox=one.last_event_not_in_outbox,
        judged_from_seq=one.judged_from_seq,
        digest=one.digest,
    )


def operation(record: OperationRecord) -> pb.Operation:
    one = record.operation
    message = pb.Operation(
        kind=one.kind.value,
        key=one.key,
        through_seq=one.through_seq,
        reason=one.reason,
        principal=one.principal,
        state=pb.Operation.State.Value(f"STATE_{record.state}"),
        outcome=record.outcome,
    )
    message.request_time.FromDatetime(record.request_time)
    if record.finish_time is not None:
        message.finish_time.FromDatetime(record.finish_time)
    return message


def _operation_id(principal: Principal, request_id: str, kind: OperationKind) -> str:
    return str(request_key(principal.name, request_id, method=kind.value))


def _remaining(told: dict[str, Any], key: str) -> pb.QuarantinedKey | None:
    left = told.get("remaining")
    if left is None:
        return None
    return pb.QuarantinedKey(
        key=key,
        reason=_reason(left["reason"]),
        detail=left["detail"],
        first_seq=left["first_seq"],
    )


def _reason(reason: str) -> pb.QuarantineReason.ValueType:
    return pb.QuarantineReason.Value(f"QUARANTINE_REASON_{reason}")
