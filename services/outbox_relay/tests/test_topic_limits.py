"""What a broker says about a topic, and when it is believed."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from trackops_common.errors import TransientError
from trackops_outbox_relay.adapters.topic_limits import MissingTopics, TopicLimits
from trackops_outbox_relay.domain.checkpoint import OutboxRow
from trackops_outbox_relay.domain.quarantine import QuarantineReason

ROW = OutboxRow(1, "id", "topic-1", "key", "Type", 1, b"payload", datetime.now(UTC).isoformat(), "")


class Admin:
    """A broker that knows the topic, or does not."""

    def __init__(self) -> None:
        self.knows = False

    def describe_configs(self, resources: list[Any], **_: Any) -> dict[Any, Future[Any]]:
        answers = {resource: Future[Any]() for resource in resources}
        for answer in answers.values():
            if self.knows:
                answer.set_result({"max.message.bytes": SimpleNamespace(value="1000000")})
            else:
                error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
                answer.set_exception(KafkaException(error))
        return answers


def test_a_topic_is_missing_once_the_broker_has_said_so_for_a_while() -> None:
    admin, now = Admin(), [0.0]
    missing = MissingTopics(believe_after_seconds=5, now=lambda: now[0])

    def faults() -> Any:
        """As the next publisher sees it."""
        limits = TopicLimits(
            admin,  # type: ignore[arg-type]
            missing=missing,
            batch_bytes=1000,
            needs_smaller_batches=lambda _: None,
        )
        return limits.faults([ROW])

    for moment in (0.0, 4.9):
        now[0] = moment
        with pytest.raises(TransientError, match="topic-1"):
            faults()
    now[0] = 5.0
    assert faults()[1].reason is QuarantineReason.UNKNOWN_TOPIC

    admin.knows = True
    assert faults() == {}
    admin.knows = False
    with pytest.raises(TransientError):
        faults()
