"""Between the contracts' messages and what the use cases speak of."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Iterator
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from trackops.saga.v1 import saga_pb2

from trackops_saga_orchestrator.application.breakers import ParticipantHealth
from trackops_saga_orchestrator.application.ports import AuditEntry, PagePosition, SagaView
from trackops_saga_orchestrator.domain.errors import InvalidPageToken
from trackops_saga_orchestrator.domain.progress import Attempt, SagaState, StepProgress

__all__ = ["page_position", "page_token", "participant_message", "saga_message", "saga_states"]


def saga_message(view: SagaView) -> saga_pb2.Saga:
    """A saga as the contract shows it."""
    saga = view.snapshot
    return saga_pb2.Saga(
        saga_id=str(saga.saga_id),
        definition=saga.definition,
        definition_version=saga.definition_version,
        subject=saga.subject,
        state=_state(saga.state),
        steps=[_step_message(step, view) for step in saga.steps],
        failure_reason=saga.failure.reason if saga.failure else "",
        failure_message=saga.failure.message if saga.failure else "",
        create_time=_timestamp(view.create_time),
        update_time=_timestamp(view.update_time),
        occurrence=saga.occurrence,
        waits_for=str(saga.waits_for or ""),
        parked_on=saga.parked_on or "",
        audit=[_audit_message(entry) for entry in view.audit],
    )


def participant_message(health: ParticipantHealth) -> saga_pb2.Participant:
    """A participant as the contract shows it."""
    return saga_pb2.Participant(
        name=health.name,
        away_since=_timestamp(health.away_since),
        error=health.error,
        next_probe_time=_timestamp(health.next_probe),
    )


def saga_states(states: list[saga_pb2.SagaState.ValueType]) -> frozenset[SagaState]:
    """States to filter by; UNSPECIFIED filters nothing."""
    names = (saga_pb2.SagaState.Name(state).removeprefix("SAGA_STATE_") for state in states)
    return frozenset(SagaState(name) for name in names if name != "UNSPECIFIED")


def page_token(position: PagePosition) -> str:
    """A position as clients carry it."""
    text = f"{position.create_time.isoformat()}|{position.saga_id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def page_position(token: str) -> PagePosition | None:
    """The position that a token stands for; None for the empty one, the first page.

    Raises:
        InvalidPageToken: it is no token of `page_token`.
    """
    if not token:
        return None
    try:
        time, _, saga_id = base64.urlsafe_b64decode(token).decode().partition("|")
        return PagePosition(datetime.fromisoformat(time), uuid.UUID(saga_id))
    except (binascii.Error, ValueError) as error:
        raise InvalidPageToken from error


def _step_message(step: StepProgress, view: SagaView) -> saga_pb2.SagaStep:
    return saga_pb2.SagaStep(
        name=step.name,
        state=saga_pb2.StepState.Value(f"STEP_STATE_{step.state.value}"),
        attempts=step.attempts,
        error=step.error,
        update_time=_timestamp(step.update_time),
        next_try_time=_timestamp(step.due),
        parked=step.parked,
        attempt_log=[_attempt_message(one) for one in _attempts(step, view)],
    )


def _attempts(step: StepProgress, view: SagaView) -> Iterator[Attempt]:
    if view.attempts is None:
        return
    yield from view.attempts.get(step.name, ())
    yield from step.over
    if step.last_attempt:
        yield step.last_attempt


def _attempt_message(attempt: Attempt) -> saga_pb2.SagaAttempt:
    return saga_pb2.SagaAttempt(
        compensation=attempt.compensation,
        number=attempt.number,
        send_time=_timestamp(attempt.sent),
        end_time=_timestamp(attempt.ended),
        error=attempt.error,
        next_try_time=_timestamp(attempt.retry),
    )


def _audit_message(entry: AuditEntry) -> saga_pb2.SagaAuditEntry:
    return saga_pb2.SagaAuditEntry(
        operation=entry.operation,
        step=entry.step,
        reason=entry.reason,
        principal=entry.principal,
        state_before=_state(entry.state_before),
        state_after=_state(entry.state_after),
        create_time=_timestamp(entry.create_time),
    )


def _state(state: SagaState) -> saga_pb2.SagaState.ValueType:
    return saga_pb2.SagaState.Value(f"SAGA_STATE_{state.value}")


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp
