"""What a consumer gets to see of Kafka: events to act on, and what cannot be one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage
from trackops.common.v1.dead_letter_pb2 import DeadLetterReason, Replay

from trackops_common import envelope

__all__ = ["REPLAY_HEADER", "Arrival", "InvalidMessage", "Message", "Problem"]

REPLAY_HEADER = "trackops-replay"
"""Holds a `trackops.common.v1.Replay`."""

P = TypeVar("P", bound=ProtobufMessage)
Kind = type[P]


class InvalidMessage(Exception):
    """A handler cannot make sense of a message, today or ever: it becomes a dead letter."""

    def __init__(self, message: Message, problem: str) -> None:
        super().__init__(
            f"message {message.topic}[{message.partition}]@{message.offset}: {problem}"
        )
        self.message = message
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it was read (see `trackops_common.envelope` for its attributes)."""

    topic: str
    partition: int
    offset: int
    """Where it stood when it was read for the first time, also if it is replayed now."""
    key: str
    value: bytes
    attributes: envelope.Attributes
    replay_of: UUID | None = None
    """The dead letter that an operator sent back: later events of its key were handled before."""

    @property
    def id(self) -> str:
        """The event's id."""
        return self.attributes.id

    @property
    def type(self) -> str:
        """Full name of the protobuf message in `value`."""
        return self.attributes.type

    @property
    def time(self) -> datetime:
        """When the fact became true."""
        return self.attributes.time

    @property
    def traceparent(self) -> str:
        """W3C trace context of the request that caused the event; empty where there was none."""
        return self.attributes.traceparent

    def parse(self, kind: Kind[P]) -> P:
        """`value` as a message of `kind`.

        Raises:
            InvalidMessage: it is none.
        """
        try:
            return kind.FromString(self.value)
        except DecodeError as error:
            name = kind.DESCRIPTOR.full_name
            raise InvalidMessage(self, f"the value is no {name}: {error}") from error


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a message is a dead letter."""

    reason: DeadLetterReason.ValueType
    text: str


class Arrival:
    """A message of Kafka, read as an event if it is one."""

    __slots__ = ("message", "offset", "partition", "problem", "raw", "replay", "topic")

    def __init__(self, raw: Any, *, retries_topic: str) -> None:
        """`raw` is a `confluent_kafka.Message`; on `retries_topic` it is a replay."""
        self.raw = raw
        self.topic: str = raw.topic()
        self.partition: int = raw.partition()
        self.offset: int = raw.offset()
        self.replay: Replay | None = None
        """What sent it here, if it is a dead letter's message."""
        self.message: Message | None = None
        """The event; None once there is a problem."""
        self.problem: Problem | None = None
        headers = raw.headers()
        try:
            if self.topic == retries_topic:
                self.replay = _replay(headers)
            self.message = self._read(headers)
        except (envelope.InvalidEnvelope, UnicodeDecodeError) as error:
            self.give_up(DeadLetterReason.DEAD_LETTER_REASON_ENVELOPE, str(error))

    @property
    def written_at(self) -> float:
        """Kafka's timestamp of it, in seconds since 1970."""
        return float(self.raw.timestamp()[1]) / 1000

    def give_up(self, reason: DeadLetterReason.ValueType, problem: str) -> None:
        """Make it a dead letter."""
        self.message = None
        self.problem = Problem(reason, problem)

    def _read(self, headers: Sequence[tuple[str, bytes]] | None) -> Message:
        attributes = envelope.parse(headers)
        key = (self.raw.key() or b"").decode()
        value = self.raw.value() or b""
        if (replay := self.replay) is None:
            return Message(self.topic, self.partition, self.offset, key, value, attributes)
        origin = UUID(replay.dead_letter_id)
        return Message(
            replay.topic, replay.partition, replay.offset, key, value, attributes, origin
        )


def _replay(headers: Sequence[tuple[str, bytes]] | None) -> Replay:
    """Raises InvalidEnvelope where the headers do not say what is replayed."""
    try:
        replay = Replay.FromString(dict(headers or ())[REPLAY_HEADER])
        UUID(replay.dead_letter_id)
    except (KeyError, TypeError, ValueError, DecodeError) as error:
        raise envelope.InvalidEnvelope(f"no replay of a dead letter ({error!r})") from error
    return replay
