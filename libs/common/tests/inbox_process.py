"""A consumer as its own process, to be killed and stopped: `handled` gets a row a message.

Its only argument is a JSON object: url, bootstrap, consumer, topic, retries.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence

from trackops_common.database import Database, Transaction
from trackops_common.inbox import DeadLetterPolicy, Handled, Inbox, InboxSettings, Message
from trackops_common.kafka_settings import KafkaAccess

_INSERT = """
INSERT INTO handled (key, number, process) VALUES (%(key)s, %(number)s, %(process)s)
"""


def _handle(transaction: Transaction, messages: Sequence[Message]) -> Handled:
    for message in messages:
        transaction.execute(
            _INSERT, {"key": message.key, "number": int(message.id), "process": os.getpid()}
        )
    return Handled()


def main() -> None:
    told = json.loads(sys.argv[1])
    settings = InboxSettings(
        kafka=KafkaAccess(told["bootstrap"]),
        consumer=told["consumer"],
        topics=[told["topic"]],
        dead_letters=DeadLetterPolicy(topic="dead", retries_topic=told["retries"]),
        max_batch=20,
        poll_seconds=0.1,
        longest_pause_seconds=0.5,
    )
    database = Database(told["url"], application_name="consumer")
    Inbox(settings, database, _handle).run(threading.Event())


if __name__ == "__main__":
    main()
