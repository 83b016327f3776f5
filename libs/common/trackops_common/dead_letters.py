"""What a consumer cannot act on leaves through its own outbox, whole, and may come back.

The row in `dead_letters`, the outbox row and the step of the position commit
together: a message becomes a dead letter once, and is not passed over without
one. A replay is acted on in the transaction that marks the row as replayed, so
it has its effect once, however often it is sent. The same rows are the memory
of the budget, which therefore outlives restarts and rebalances.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from trackops.common.v1.dead_letter_pb2 import DeadLetter, MessageHeader

from trackops_common import arrays, envelope
from trackops_common.clock import Clock, SystemClock
from trackops_common.database import Database, Transaction
from trackops_common.errors import StartRefused
from trackops_common.messages import REPLAY_HEADER, Arrival, Problem
from trackops_common.outbox import OutboxEvent

__all__ = ["DeadLetterBudgetExceeded", "DeadLetterPolicy", "DeadLetters", "waiting"]

_log = structlog.get_logger(__name__)

_CLAIM = """
UPDATE dead_letters
   SET replay_time = now(), replay_reason = replay.reason
  FROM unnest(%(ids)s::uuid[], %(reasons)s::text[]) AS replay(id, reason)
 WHERE dead_letter_id = replay.id AND consumer = %(consumer)s AND replay_time IS NULL
RETURNING dead_letter_id
"""

_INSERT = """
INSERT INTO dead_letters (dead_letter_id, consumer, topic, partition, message_offset, problem,
                          replay_of)
SELECT id, %(consumer)s, topic, partition, message_offset, problem, replay_of
  FROM unnest(%(ids)s::uuid[], %(topics)s::text[], %(partitions)s::int[], %(offsets)s::bigint[],
              %(problems)s::text[], %(replays_of)s::uuid[])
       AS new(id, topic, partition, message_offset, problem, replay_of)
"""

_BEYOND_BUDGET = """
SELECT dead_letter_id
  FROM dead_letters AS latest
 WHERE dead_letter_id = ANY(%(ids)s::uuid[])
   AND (SELECT count(*) FROM dead_letters AS dead
         WHERE dead.consumer = latest.consumer
           AND dead.topic = latest.topic
           AND dead.partition = latest.partition
           AND dead.replay_of IS NULL
           AND dead.message_offset > latest.message_offset - %(window)s
           AND dead.message_offset <= latest.message_offset) > %(limit)s
"""

_WAITING = """
SELECT count(*) FROM dead_letters WHERE consumer = %(consumer)s AND replay_time IS NULL
"""


def waiting(database: Database, consumer: str) -> int:
    """How many dead letters of `consumer` nobody has replayed.

    Raises:
        TransientError: the database does not answer.
    """
    ((number,),) = database.fetch(_WAITING, {"consumer": consumer})
    return int(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterPolicy:
    """Where dead letters go, and how many are too many."""

    topic: str
    """Where they are published."""
    retries_topic: str
    """Where they come back from; the consumer reads it beside its own topics."""
    limit: int = 20
    """More than these among `window` messages stop the consumer; 0 allows none at all."""
    window: int = 1_000
    """Messages of one partition, counted by offset (transaction markers take some)."""


class DeadLetterBudgetExceeded(StartRefused):
    """So many messages cannot be handled that it is no matter of single messages."""

    def __init__(self, consumer: str, arrival: Arrival, policy: DeadLetterPolicy) -> None:
        place = f"{arrival.topic}[{arrival.partition}]"
        problem = arrival.problem.text if arrival.problem else ""
        super().__init__(
            f"{consumer} cannot handle more than {policy.limit} of {policy.window} messages of"
            f" {place}, the one at offset {arrival.offset} because: {problem}. So many are the"
            " fault of this version, or of the one that wrote them; nothing was done with the last"
            " batch, and this one will stop here again. Deploy a version that handles them, or set"
            " TRACKOPS_DEAD_LETTER_LIMIT higher to make all of them dead letters"
        )
        self.topic = arrival.topic
        self.partition = arrival.partition
        self.offset = arrival.offset


class DeadLetters:
    """The dead letters of one consumer."""

    def __init__(self, consumer: str, policy: DeadLetterPolicy, clock: Clock | None = None) -> None:
        self._consumer = consumer
        self._policy = policy
        self._clock = clock or SystemClock()

    def claim(self, transaction: Transaction, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        """`arrivals` without replays that are not for this consumer or were acted on before."""
        replays = {one.replay.dead_letter_id: one.replay for one in arrivals if one.replay}
        if not replays:
            return arrivals
        rows = transaction.execute(
            _CLAIM,
            {
                "consumer": self._consumer,
                "ids": arrays.texts(replays),
                "reasons": arrays.texts(_storable(replay.reason) for replay in replays.values()),
            },
        )
        claimed = {row[0] for row in rows}
        wanted: list[Arrival] = []
        for one in arrivals:
            if one.replay is None:
                wanted.append(one)
            elif (origin := uuid.UUID(one.replay.dead_letter_id)) in claimed:
                claimed.remove(origin)  # the same replay may come twice in one batch
                wanted.append(one)
            else:
                _log.info(
                    "replay not acted on: not ours, or done before",
                    consumer=self._consumer,
                    dead_letter_id=str(origin),
                )
        return wanted

    def give_up(
        self, transaction: Transaction, arrivals: Sequence[Arrival]
    ) -> Sequence[OutboxEvent]:
        """Record messages that have a problem; the events with which they leave.

        Raises:
            DeadLetterBudgetExceeded: they are too many; the transaction is to be rolled back.
        """
        if not arrivals:
            return ()
        letters = [(one, self._letter(one)) for one in arrivals]
        transaction.execute(_INSERT, self._columns(letters))
        self._check_budget(transaction, letters)
        return [self._event(one, letter) for one, letter in letters]

    def _check_budget(
        self, transaction: Transaction, letters: Sequence[tuple[Arrival, DeadLetter]]
    ) -> None:
        """Replays count for nothing here: an operator sends them, and sees what comes of it."""
        by_id = {letter.dead_letter_id: one for one, letter in letters}
        rows = transaction.execute(
            _BEYOND_BUDGET,
            {
                "ids": arrays.texts(by_id),
                "window": self._policy.window,
                "limit": self._policy.limit,
            },
        )
        if rows:
            beyond = min((by_id[str(row[0])] for row in rows), key=lambda one: one.offset)
            raise DeadLetterBudgetExceeded(self._consumer, beyond, self._policy)

    def _letter(self, arrival: Arrival) -> DeadLetter:
        replay, problem = arrival.replay, _problem_of(arrival)
        place = replay or arrival
        return DeadLetter(
            dead_letter_id=str(uuid.uuid4()),
            consumer=self._consumer,
            topic=place.topic,
            partition=place.partition,
            offset=place.offset,
            key=arrival.raw.key(),
            value=arrival.raw.value(),
            headers=[
                MessageHeader(name=name, value=value)
                for name, value in arrival.raw.headers() or ()
                if replay is None or name != REPLAY_HEADER
            ],
            reason=problem.reason,
            problem=problem.text,
            dead_time=self._now(),
            retries_topic=self._policy.retries_topic,
            replay_of=replay.dead_letter_id if replay else "",
        )

    def _now(self) -> Timestamp:
        time = Timestamp()
        time.FromDatetime(self._clock.now())
        return time

    def _columns(self, letters: Sequence[tuple[Arrival, DeadLetter]]) -> Mapping[str, Any]:
        return {
            "consumer": self._consumer,
            "ids": arrays.texts(letter.dead_letter_id for _, letter in letters),
            "topics": arrays.texts(one.topic for one, _ in letters),
            "partitions": arrays.integers(one.partition for one, _ in letters),
            "offsets": arrays.integers(one.offset for one, _ in letters),
            "problems": arrays.texts(_storable(letter.problem) for _, letter in letters),
            "replays_of": arrays.texts(letter.replay_of or None for _, letter in letters),
        }

    def _event(self, arrival: Arrival, letter: DeadLetter) -> OutboxEvent:
        _log.error(
            "message becomes a dead letter",
            consumer=self._consumer,
            dead_letter_id=letter.dead_letter_id,
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            problem=letter.problem,
        )
        return OutboxEvent(
            event_id=uuid.UUID(letter.dead_letter_id),
            topic=self._policy.topic,
            key=_key(arrival),
            type=DeadLetter.DESCRIPTOR.full_name,
            aggregate_version=1,
            payload=letter.SerializeToString(),
            occurred_at=self._clock.now(),
            traceparent=_traceparent(arrival),
        )


def _problem_of(arrival: Arrival) -> Problem:
    if arrival.problem is None:
        raise ValueError("a message without a problem is no dead letter")
    return arrival.problem


def _key(arrival: Arrival) -> str:
    """The message's key, so that dead letters of a key stay in order; its place if it has none."""
    key = arrival.raw.key()
    if not key:
        return f"{arrival.topic}[{arrival.partition}]"
    return _storable(key.decode(errors="backslashreplace"))


def _traceparent(arrival: Arrival) -> str:
    try:
        return envelope.parse(arrival.raw.headers()).traceparent
    except envelope.InvalidEnvelope:
        return ""


def _storable(text: str) -> str:
    """Postgres has no U+0000, and UTF-8 no surrogates."""
    return text.replace("\x00", "\\x00").encode(errors="backslashreplace").decode()
