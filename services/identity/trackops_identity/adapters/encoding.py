"""Facts and letters as rows of the outbox."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from trackops.identity.v1 import identity_events_pb2

from trackops_common.outbox import OutboxEvent
from trackops_identity.domain.events import (
    IdentityEvent,
    LetterRequested,
    SessionsRevoked,
    UserRegistered,
)

__all__ = ["IdentityTopics", "outbox_event"]


@dataclass(frozen=True, slots=True)
class IdentityTopics:
    """Where facts go, and where letters go, which hold secrets."""

    events: str
    letters: str


def outbox_event(event: IdentityEvent, topics: IdentityTopics) -> OutboxEvent:
    """The event as a row of the outbox."""
    payload, time = _payload(event)
    return OutboxEvent(
        event_id=uuid.uuid4(),
        topic=topics.letters if isinstance(event, LetterRequested) else topics.events,
        key=str(event.user.user_id),
        type=payload.DESCRIPTOR.full_name,
        aggregate_version=event.user.version,
        payload=payload.SerializeToString(),
        occurred_at=time,
    )


def _payload(event: IdentityEvent) -> tuple[Message, datetime]:
    user = event.user
    match event:
        case UserRegistered():
            registered = identity_events_pb2.UserRegistered(
                user_id=str(user.user_id), email=user.email
            )
            return registered, user.create_time
        case SessionsRevoked():
            revoked = identity_events_pb2.SessionsRevoked(
                user_id=str(user.user_id),
                session_ids=map(str, event.session_ids),
                access_expire_time=_timestamp(event.access_expire_time),
            )
            return revoked, event.time
        case LetterRequested():
            letter = identity_events_pb2.LetterRequested(
                user_id=str(user.user_id),
                email=user.email,
                kind=identity_events_pb2.LetterKind.Value(f"LETTER_KIND_{event.kind}"),
                token=event.token,
                token_expire_time=_timestamp(event.token_expire_time),
            )
            return letter, event.time


def _timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message
