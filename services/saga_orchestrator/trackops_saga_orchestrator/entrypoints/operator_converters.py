"""Between operators' requests and the commands that they are."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from google.protobuf.message import DecodeError, Message
from trackops.saga.v1 import saga_service_pb2

from trackops_common.auth import Principal
from trackops_common.grpc.validation import validation_failure
from trackops_saga_orchestrator.application.ports import SagaView
from trackops_saga_orchestrator.application.start_by_hand import StartByHand
from trackops_saga_orchestrator.application.start_sagas import StartSaga
from trackops_saga_orchestrator.application.steer_many import Steered, SteerMany
from trackops_saga_orchestrator.application.steer_sagas import SteerSaga
from trackops_saga_orchestrator.application.steering_ports import SagaSelection
from trackops_saga_orchestrator.domain.errors import InvalidTrigger, NotATrigger
from trackops_saga_orchestrator.domain.progress import SagaState
from trackops_saga_orchestrator.domain.steering import Operation
from trackops_saga_orchestrator.entrypoints.converters import saga_message
from trackops_saga_orchestrator.entrypoints.triggers import triggered_by

__all__ = [
    "encode_saga",
    "encode_steered",
    "start_command",
    "steer_command",
    "steer_many_command",
]

_STATES = {
    Operation.PAUSE: (SagaState.QUEUED, SagaState.RUNNING, SagaState.COMPENSATING),
    Operation.RESUME: (SagaState.PAUSED,),
    Operation.RETRY: (SagaState.NEEDS_OPERATOR,),
    Operation.COMPENSATE: (SagaState.RUNNING, SagaState.PAUSED),
}
"""What a bulk command is about."""

_OCCURRENCE_LENGTH = 128
"""Of the id of a shipment or a return; Postgres indexes no more than some 2,700 bytes."""


def steer_command(request: Any, operation: Operation, principal: Principal) -> SteerSaga:
    """From any request with `request_id`, `saga_id`, `reason` and maybe `step`."""
    return SteerSaga(
        principal=principal.name,
        request_id=request.request_id,
        saga_id=UUID(request.saga_id),
        operation=operation,
        reason=request.reason,
        step=getattr(request, "step", ""),
    )


def steer_many_command(request: Any, operation: Operation, principal: Principal) -> SteerMany:
    """From any request with `request_id`, `selection`, `reason` and `dry_run`."""
    selection = request.selection
    return SteerMany(
        principal=principal.name,
        request_id=request.request_id,
        operation=operation,
        selection=SagaSelection(
            _STATES[operation],
            selection.definition,
            selection.failure_reason,
            selection.older_than_seconds,
        ),
        reason=request.reason,
        dry_run=request.dry_run,
    )


def start_command(request: saga_service_pb2.StartSagaRequest, principal: Principal) -> StartByHand:
    """Raises `NotATrigger` and `InvalidTrigger`."""
    event = request.trigger.TypeName()
    start = _start(event, request.trigger.value)
    if start is None or start.definition.name != request.definition:
        raise NotATrigger(request.definition, event)
    return StartByHand(principal.name, request.request_id, start, request.reason)


def _start(event: str, value: bytes) -> StartSaga | None:
    """An event from a person is checked as a request is; those from Kafka were, as requests."""
    try:
        start = triggered_by(event, value, check=_check)
    except DecodeError as error:
        raise InvalidTrigger([("value", f"is no {event}")]) from error
    if start is not None:
        _check_names(start)
    return start


def _check(event: Message) -> None:
    if failure := validation_failure(event):
        raise InvalidTrigger(failure.violations)


def _check_names(start: StartSaga) -> None:
    try:
        UUID(start.subject)
    except ValueError as error:
        raise InvalidTrigger([("", "the order's id must be a UUID")]) from error
    if len(start.occurrence) > _OCCURRENCE_LENGTH:
        raise InvalidTrigger([("", f"ids must have {_OCCURRENCE_LENGTH} characters at most")])


def encode_saga(view: SagaView) -> bytes:
    """Any response that has a saga and nothing else: they are alike on the wire."""
    return saga_service_pb2.PauseSagaResponse(saga=saga_message(view)).SerializeToString()


def encode_steered(steered: Steered) -> bytes:
    """The response of any bulk command."""
    return saga_service_pb2.ResumeSagasResponse(
        count=steered.count,
        sample_saga_ids=map(str, steered.samples),
        more=steered.more,
    ).SerializeToString()
