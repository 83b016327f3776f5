"""Which rows a broker would refuse by their topic or their size, told before they are sent.

A refusal by the broker poisons the whole request and its transaction.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AdminClient,
    ConfigResource,
    ResourceType,
)

from trackops_common.errors import TransientError
from trackops_outbox_relay.domain.checkpoint import OutboxRow
from trackops_outbox_relay.domain.quarantine import Fault, QuarantineReason

__all__ = ["MissingTopics", "TopicLimits", "greatest_size"]

_REQUEST_SECONDS = 5.0
_TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_CONSTANT_BYTES = 410
"""A batch's and a record's own bytes, the headers' names, and their values of bounded length."""
_BATCH_MARGIN = 200
_KAFKAS_DEFAULT = 1_048_588
"""`max.message.bytes` where the broker does not let us ask."""


def greatest_size(row: OutboxRow) -> int:
    """Bytes that the row's record takes, alone in a batch, at most; never less than it takes."""
    texts = (row.key, row.key, row.type, row.traceparent)
    return len(row.payload) + sum(len(text.encode()) for text in texts) + _CONSTANT_BYTES


class MissingTopics:
    """Topics that the broker says do not exist, and since when it has said so.

    One that has just started, or lags behind the others, may not know a topic
    yet; so it is believed only after it has said the same for some time.
    """

    def __init__(
        self, *, believe_after_seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._believe_after_seconds = believe_after_seconds
        self._now = now
        self._since: dict[str, float] = {}

    def is_missing(self, topic: str) -> bool:
        """The broker said that there is no `topic`; whether to believe it by now."""
        since = self._since.setdefault(topic, self._now())
        return self._now() - since >= self._believe_after_seconds

    def is_there(self, topic: str) -> None:
        """The broker knows `topic`."""
        self._since.pop(topic, None)


class TopicLimits:
    """What topics exist and how large their messages may be, remembered for one publisher."""

    def __init__(
        self,
        admin: AdminClient,
        *,
        missing: MissingTopics,
        batch_bytes: int,
        needs_smaller_batches: Callable[[int], object],
    ) -> None:
        """`missing` is shared by all publishers of a process.

        `needs_smaller_batches` is told where a topic takes less than
        `batch_bytes` at once.
        """
        self._admin = admin
        self._missing = missing
        self._batch_bytes = batch_bytes
        self._needs_smaller_batches = needs_smaller_batches
        self._limits: dict[str, int] = {}

    def faults(self, rows: Sequence[OutboxRow]) -> Mapping[int, Fault]:
        """See `Publisher.faults`.

        Raises:
            TransientError: the broker does not answer, or says for the first
                time that a topic is missing, or a publisher with smaller
                batches is needed.
        """
        new = {row.topic for row in rows} - self._limits.keys()
        faults = self._ask(new) if new else {}
        suspects = [row for row in rows if self._is_suspect(row)]
        stale = {row.topic for row in suspects} - new
        if stale:
            faults = {**faults, **self._ask(stale)}
        found = {row.seq: faults.get(row.topic) or self._oversize(row) for row in suspects}
        return {seq: fault for seq, fault in found.items() if fault is not None}

    def _is_suspect(self, row: OutboxRow) -> bool:
        limit = self._limits.get(row.topic, 0)
        longest = 4 * (2 * len(row.key) + len(row.type) + len(row.traceparent))
        return len(row.payload) + longest + _CONSTANT_BYTES > limit

    def _oversize(self, row: OutboxRow) -> Fault | None:
        size, limit = greatest_size(row), self._limits[row.topic]
        if size <= limit:
            return None
        detail = f"up to {size} bytes; {row.topic} takes {limit} (max.message.bytes)"
        return Fault(QuarantineReason.TOO_LARGE, detail)

    def _ask(self, topics: Collection[str]) -> Mapping[str, Fault]:
        """Learn the limits of topics anew; what is wrong with the others."""
        faults = {}
        resources = []
        for topic in topics:
            self._limits.pop(topic, None)
            if _TOPIC_NAME.fullmatch(topic) and topic not in (".", ".."):
                resources.append(ConfigResource(ResourceType.TOPIC, topic))
            else:
                detail = f"no topic can have the name {topic!r}"
                faults[topic] = Fault(QuarantineReason.UNKNOWN_TOPIC, detail)
        for resource, answer in self._describe(resources).items():
            fault = self._learn(resource.name, answer)
            if fault is not None:
                faults[resource.name] = fault
        self._fit_batches()
        return faults

    def _describe(self, resources: list[Any]) -> Mapping[Any, Future[Any]]:
        if not resources:
            return {}
        answers: Mapping[Any, Future[Any]] = self._admin.describe_configs(
            resources, request_timeout=_REQUEST_SECONDS
        )
        return answers

    def _learn(self, topic: str, answer: Future[Any]) -> Fault | None:
        try:
            self._limits[topic] = int(answer.result()["max.message.bytes"].value)
        except KafkaException as exception:
            error = exception.args[0]
            if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                if self._missing.is_missing(topic):
                    return Fault(QuarantineReason.UNKNOWN_TOPIC, f"there is no topic {topic}")
                raise TransientError(
                    f"Kafka does not know topic {topic}, or not yet"
                ) from exception
            if error.code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise TransientError(f"Kafka does not describe {topic}: {error}") from exception
            self._limits[topic] = _KAFKAS_DEFAULT
        self._missing.is_there(topic)
        return None

    def _fit_batches(self) -> None:
        """A broker measures batches: none may be larger than the smallest limit."""
        if not self._limits:
            return
        smallest = min(self._limits.values())
        wanted = max(1, smallest - _BATCH_MARGIN)
        if wanted < self._batch_bytes:
            self._needs_smaller_batches(wanted)
            raise TransientError(f"a topic takes {smallest} bytes at once; opening anew")
